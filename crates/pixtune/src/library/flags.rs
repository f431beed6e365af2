//! The options of a command by name, so that functions in another language can be compared with them.

use clap::CommandFactory as _;

use crate::args::Args;

/// The long names of the options of a command, such as `adapter check`, without global ones; nothing for what is not a
/// command.
pub fn flags(command: &str) -> Vec<String> {
    let mut found = Args::command();
    for name in command.split(' ') {
        match found.find_subcommand(name) {
            Some(below) => found = below.clone(),
            None => return Vec::new(),
        }
    }
    let options = found.get_arguments().filter_map(|argument| argument.get_long());
    options.map(str::to_owned).collect()
}
