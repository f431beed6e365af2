//! Options of every command.

use clap::Args;

use crate::color::Color;
use crate::ui::Verbosity;

// Commands show these under their own heading. No doc comment: it would become help.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct OutputArgs {
    /// Print errors and results only: no progress, notes or warnings
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Exit with code 0 instead of 1 if the command has findings
    #[arg(long, global = true)]
    pub exit_zero: bool,
    /// When to color messages; `auto` colors them on a terminal and respects NO_COLOR and FORCE_COLOR
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, hide_possible_values = true, value_name = "auto|always|never")]
    pub color: Color,
}

impl OutputArgs {
    /// How much is printed.
    pub fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }
}
