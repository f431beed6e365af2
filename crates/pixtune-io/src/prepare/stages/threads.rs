//! The engine of one process: tasks on its threads.

use super::{Done, Engine, PrepareError, Run, Stage, Worker};
use crate::parallel;

/// Performs tasks on threads of this process.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    /// Their number.
    pub threads: usize,
}

impl Engine for Threads {
    fn perform(
        &mut self,
        run: &Run<'_>,
        stage: Stage,
        tasks: &[String],
        done: &mut Done<'_>,
    ) -> Result<(), PrepareError> {
        let worker = Worker::new(run);
        let mut left = 0..tasks.len();
        let work = |index: usize| (index, worker.perform(stage, &tasks[index]));
        parallel::ordered(self.threads, || Ok(left.next()), work, |(index, result)| done(index, result))
    }

    fn attempts(&self) -> usize {
        1
    }

    fn is_here(&self) -> bool {
        true
    }
}
