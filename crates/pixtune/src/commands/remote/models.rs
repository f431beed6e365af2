//! `pixtune models`.

use super::{client, print_list, print_object, segment};
use crate::Outcome;
use crate::args::{ModelsArgs, ModelsCommand};
use crate::error::Error;
use crate::ui::Verbosity;

/// Runs the subcommand.
pub fn run(args: &ModelsArgs, _: Verbosity) -> Result<Outcome, Error> {
    let client = client(&args.endpoint)?;
    let format = args.endpoint.format;
    match &args.command {
        ModelsCommand::List => print_list(&client.get("/models")?, &["id", "type", "root"], format)?,
        ModelsCommand::Show { id } => {
            print_object(&client.get(&format!("/models/{}", segment(id)))?, format)?;
        }
        ModelsCommand::Archive { id } => {
            drop(client.post(&format!("/fine_tuning/models/{}/archive", segment(id)), "")?);
        }
        ModelsCommand::Unarchive { id } => {
            drop(client.delete(&format!("/fine_tuning/models/{}/archive", segment(id)))?);
        }
        ModelsCommand::Delete { id } => drop(client.delete(&format!("/models/{}", segment(id)))?),
    }
    Ok(Outcome::Fine)
}
