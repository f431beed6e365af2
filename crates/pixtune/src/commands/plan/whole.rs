//! What `--train-full` names.

use pixtune_core::plan::WholeParts;
use pixtune_core::target::Method;
use pixtune_model::network::{Region, WholeRegions};
use pixtune_train::TrainError;

use crate::args::PlanArgs;
use crate::error::Error;

/// The parts of the model that are trained as whole tensors.
pub(super) fn parts(args: &PlanArgs) -> Result<WholeParts, Error> {
    let Some(list) = &args.train_full else { return Ok(WholeParts::default()) };
    let regions = WholeRegions::parse(list).map_err(TrainError::from)?;
    if Method::from(args.training.method) == Method::Full {
        return Err(Error::argument("`--method full` trains all weights: remove `--train-full`"));
    }
    let contains = |region| regions.contains(region);
    Ok(WholeParts { projector: contains(Region::Projector), vision: contains(Region::Vision) })
}
