//! `pixtune rules`.

use pixtune_core::checks;
use pixtune_core::diagnostic::Group;
use pixtune_core::rules;
use pixtune_io::config::unknown_rule;

use crate::Outcome;
use crate::args::{RulesArgs, RulesFormat};
use crate::error::Error;
use crate::ui;

/// Lists all rules, the rules of a group, or explains one rule.
pub fn run(args: RulesArgs) -> Result<Outcome, Error> {
    if args.format == RulesFormat::Markdown {
        ui::put(&checks::markdown())?;
        return Ok(Outcome::Fine);
    }
    let group = match &args.rule {
        None => None,
        Some(name) => match (rules::find(name), Group::find(name)) {
            (Some(rule), _) => {
                ui::put(&checks::explain(rule))?;
                return Ok(Outcome::Fine);
            }
            (None, Some(group)) => Some(group),
            (None, None) => return Err(unknown_rule(name).into()),
        },
    };
    let mut out = String::new();
    for listed in Group::ALL.into_iter().filter(|listed| group.is_none_or(|group| group == *listed)) {
        out.push_str(&format!("{}\n", listed.title()));
        for rule in rules::ALL.iter().filter(|rule| rule.group == listed) {
            out.push_str(&format!("  {:<22} {:<8} {}\n", rule.id, rule.severity.as_str(), rule.why));
        }
    }
    ui::put(&out)?;
    Ok(Outcome::Fine)
}
