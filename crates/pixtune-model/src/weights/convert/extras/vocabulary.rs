//! Vocabularies with added tokens: which files name the tokens, and what each format can carry.

use std::path::Path;

use pixtune_core::json::Value;
use pixtune_core::text::counted;
use pixtune_core::tokens::tokenizer::Tokenizer;

use super::{Extras, MAX_TOKENIZER, Origin, read_tekken};
use crate::weights::config::read_json_within;
use crate::weights::convert::{ConvertError, Options};
use crate::weights::{Checkpoint, Format};

const TEKKEN: &str = "tekken.json";
const TOKENIZER: &str = "tokenizer.json";

/// Decides which tekken.json the output gets: the one that has exactly the tokens of the model.
pub(super) fn tekken(
    extras: &mut Extras<'_>,
    options: &Options,
    source: &Checkpoint,
    warnings: &mut Vec<String>,
) -> Result<Option<Tokenizer>, ConvertError> {
    let before = source.config().text.vocab_size;
    let rows = options.growth.as_ref().map_or(before, |growth| growth.rows);
    let own = match extras.path(TEKKEN) {
        Some(path) => match read_tekken(&path)? {
            own if own.len() > before => {
                return Err(ConvertError::Vocabulary { path, tokens: own.len(), rows: before });
            }
            own => Some(own),
        },
        None => None,
    };
    if let Some(growth) = &options.growth
        && let Some(grown) = grown_tekken(&growth.tokenizer, own.as_ref(), rows)?
    {
        extras.replace(TEKKEN, growth.tokenizer.join(TEKKEN), Origin::Adapter);
        return Ok(Some(grown));
    }
    match own {
        Some(own) if own.len() == rows => Ok(Some(own)),
        Some(own) if options.to == Format::Hf => {
            extras.remove(TEKKEN);
            warnings.push(format!(
                "tekken.json has {}, and the model has {rows}: it is not copied, and mistral-common cannot be used",
                counted(own.len() as u64, "token")
            ));
            Ok(None)
        }
        Some(own) => Err(ConvertError::GrownVocabulary { rows, before: own.len() }),
        None if options.to == Format::Mistral => match grown_from(options, source, rows)? {
            Some(before) => Err(ConvertError::GrownVocabulary { rows, before }),
            None => Ok(None),
        },
        None => Ok(None),
    }
}

/// The tekken.json with the added tokens, beside an adapter. One with fewer tokens than the model is that of the base.
fn grown_tekken(
    directory: &Path,
    own: Option<&Tokenizer>,
    rows: usize,
) -> Result<Option<Tokenizer>, ConvertError> {
    let path = directory.join(TEKKEN);
    if !path.is_file() {
        return Ok(None);
    }
    let grown = read_tekken(&path)?;
    if grown.len() > rows {
        return Err(ConvertError::Vocabulary { path, tokens: grown.len(), rows });
    }
    if grown.len() < rows {
        return Ok(None);
    }
    match own.and_then(|own| first_difference(own, &grown)) {
        Some(id) => {
            let why = format!("its token {id} is not that of the base");
            Err(ConvertError::Tokenizer { path, why })
        }
        None => Ok(Some(grown)),
    }
}

/// The first id of a vocabulary that means something else in a larger one.
fn first_difference(own: &Tokenizer, grown: &Tokenizer) -> Option<usize> {
    let specials = [own, grown].map(Tokenizer::special_tokens);
    let length = specials[0].len().max(specials[1].len());
    let special = (0..length).find(|id| specials[0].get(*id) != specials[1].get(*id));
    special.or_else(|| (length..own.len()).find(|id| own.token(*id as u32) != grown.token(*id as u32)))
}

/// How many tokens the model had before tokens were added, if it has added ones and no tekken.json is known.
fn grown_from(options: &Options, source: &Checkpoint, rows: usize) -> Result<Option<usize>, ConvertError> {
    if options.growth.is_some() {
        return Ok(Some(source.config().text.vocab_size));
    }
    let path = options.source.join(TOKENIZER);
    if !path.is_file() {
        return Ok(None);
    }
    let named = Named::of(&read_json_within(&path, MAX_TOKENIZER)?);
    Ok((named.vocabulary > 0 && named.vocabulary < named.all.min(rows)).then_some(named.vocabulary))
}

/// Refuses a tokenizer with tokens that a larger vocabulary has no rows for, and reports added rows without tokens.
pub(super) fn check_tokenizer(
    extras: &Extras<'_>,
    rows: usize,
    warnings: &mut Vec<String>,
) -> Result<(), ConvertError> {
    let Some(path) = extras.path(TOKENIZER) else {
        warnings.push(format!(
            "the vocabulary has {rows} tokens, and no tokenizer.json names the added ones: save the tokenizer beside the \
             adapter and merge again"
        ));
        return Ok(());
    };
    let tokens = Named::of(&read_json_within(&path, MAX_TOKENIZER)?).all;
    if tokens > rows {
        return Err(ConvertError::Vocabulary { path, tokens, rows });
    }
    if tokens < rows {
        warnings.push(format!(
            "`{}` has {}, and the vocabulary {rows}: the last rows have no token",
            path.display(),
            counted(tokens as u64, "token")
        ));
    }
    Ok(())
}

/// How many tokens a tokenizer.json names: one more than the largest id.
struct Named {
    /// In the vocabulary of its model.
    vocabulary: usize,
    /// With the added tokens.
    all: usize,
}

impl Named {
    fn of(tokenizer: &Value<'_>) -> Named {
        let id = |value: &Value<'_>| match value {
            Value::Number(text) => text.parse::<usize>().ok(),
            _ => None,
        };
        let model = tokenizer.get("model").and_then(|model| model.get("vocab"));
        let named = model.and_then(Value::as_object).into_iter().flatten();
        let vocabulary = named.filter_map(|(_, value)| id(value)).max();
        let added = tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
        let added = added.filter_map(|token| id(token.get("id")?)).max();
        let count = |last: Option<usize>| last.map_or(0, |last| last.saturating_add(1));
        Named { vocabulary: count(vocabulary), all: count(vocabulary.max(added)) }
    }
}
