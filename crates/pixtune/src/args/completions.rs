//! `pixtune completions`.

use clap::Parser;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune completions bash > ~/.local/share/bash-completion/completions/pixtune
  pixtune completions zsh > ~/.zfunc/_pixtune            with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  pixtune completions fish > ~/.config/fish/completions/pixtune.fish
")]
pub struct CompletionsArgs {
    /// Shell to complete in
    pub shell: Shell,
}
