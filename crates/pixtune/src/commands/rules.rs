//! `pixtune rules`.

use pixtune_core::checks;
use pixtune_core::diagnostic::{Fix, Group, Rule};
use pixtune_core::json::{self, members, object};
use pixtune_core::rules;
use pixtune_core::target;
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
            (Some(rule), _) if args.format == RulesFormat::Json => {
                ui::put(&json_line(rule))?;
                return Ok(Outcome::Fine);
            }
            (Some(rule), _) => {
                ui::put(&checks::explain(rule))?;
                return Ok(Outcome::Fine);
            }
            (None, Some(group)) => Some(group),
            (None, None) => return Err(unknown_rule(name).into()),
        },
    };
    if args.format == RulesFormat::Json {
        let listed = rules::ALL.iter().filter(|rule| group.is_none_or(|group| group == rule.group));
        ui::put(&listed.map(|rule| json_line(rule)).collect::<String>())?;
        return Ok(Outcome::Fine);
    }
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

fn json_line(rule: &Rule) -> String {
    json::line(object(|out| {
        out.field("rule", rule.id).field("group", rule.group.as_str());
        out.field("severity", rule.severity.as_str())
            .field("fix", rule.fix.map(Fix::as_str))
            .field("why", rule.why);
        // A target may be stricter or less strict.
        let differs = target::ACCEPTED.iter().filter(|target| target.severity(rule) != rule.severity);
        out.field("targets", members(differs.map(|target| (target.id, target.severity(rule).as_str()))));
    }))
}
