//! How images are verified and measured.

use clap::{Args, ValueEnum};
use pixtune_io::verify::{Inspection, Verify};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyArg {
    /// Decode images
    // An older name of `stats --verify full` is `--pictures measure`.
    #[value(alias = "measure")]
    Full,
    /// Parse headers and structure
    Header,
}

impl From<VerifyArg> for Verify {
    fn from(arg: VerifyArg) -> Verify {
        match arg {
            VerifyArg::Full => Verify::Full,
            VerifyArg::Header => Verify::Header,
        }
    }
}

// Two flags for one choice, of which the last one counts. No doc comment: it would become help.
#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Measure decoded images, for near-duplicate detection and image quality warnings (default)
    #[arg(long, overrides_with = "no_measure")]
    measure: bool,
    /// Skip image measurements: no near-duplicate detection, no image quality warnings
    #[arg(long, overrides_with = "measure")]
    no_measure: bool,
}

impl MeasureArgs {
    /// How closely images are inspected that are verified this deep.
    pub fn inspection(&self, verify: VerifyArg) -> Inspection {
        Inspection { verify: verify.into(), measure: self.measure() }
    }

    /// Whether pixels are measured.
    pub fn measure(&self) -> bool {
        !self.no_measure
    }
}
