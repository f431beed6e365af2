//! `pixtune man`.

use std::path::PathBuf;

use clap::Parser;

/// Write man pages, one per command
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune man ~/.local/share/man/man1
")]
pub struct ManArgs {
    /// Output directory; it is created, and man pages of pixtune in it are replaced
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
