//! Where the work of a command is done.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::Error;

/// Where to prepare, and in what pieces.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// Where to run: on this machine, or on the nodes of a Ray cluster, which writes the same bytes. All nodes need the Python
    /// package of the same version, and the paths of inputs and output
    #[arg(long, value_enum, default_value_t = EngineArg::Local)]
    pub engine: EngineArg,
    /// Ray cluster to connect to, such as HOST:6379 [default: RAY_ADDRESS, a cluster that was started on this machine, or a
    /// new one on this machine]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Python with the packages pixtune and ray, for --engine ray [default: PIXTUNE_PYTHON, or python3]
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,
    /// Write the plan of a run on Ray to this file, for `python -m pixtune.ray FILE`, and exit
    #[arg(long, value_name = "FILE")]
    pub write_plan: Option<PathBuf>,
    /// Rows that are scanned together and not again by --resume; the output does not depend on it [default: 1000 with
    /// --engine ray; without it, all rows in one piece]
    #[arg(long, value_name = "N")]
    pub fragment_rows: Option<NonZeroU64>,
}

/// Where the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// On the threads of this process.
    Local,
    /// On a Ray cluster.
    Ray,
}

/// Rows of a fragment on a cluster.
const FRAGMENT_ROWS: u64 = 1000;

impl EngineArgs {
    /// Fails for options that have no effect on this machine.
    pub fn check(&self) -> Result<(), Error> {
        let given = [
            ("--address", self.address.is_some()),
            ("--python", self.python.is_some()),
            ("--write-plan", self.write_plan.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given && self.engine == EngineArg::Local) {
            Some((name, _)) => Err(Error::argument(format!("`{name}` needs `--engine ray`"))),
            None => Ok(()),
        }
    }

    /// Rows of a fragment, where the run is cut into fragments.
    pub fn rows(&self) -> Option<u64> {
        let rows = self.fragment_rows.map(NonZeroU64::get);
        rows.or((self.engine == EngineArg::Ray).then_some(FRAGMENT_ROWS))
    }
}
