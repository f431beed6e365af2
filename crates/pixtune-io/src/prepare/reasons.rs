//! Why rows are rejected by the decision, in the order of the rows.

use std::io;

use pixtune_core::curate::issues::{Outlier, StoredOutlier};
use pixtune_core::curate::sorted::Cursor;
use pixtune_core::curate::{Repeat, Repeated, SortedDecision, Status};
use pixtune_core::diagnostic::Rule;

use super::scratch::ScratchFile;

/// A decision whose lists may be in scratch files.
pub(super) type Decided = SortedDecision<ScratchFile>;

/// Why the decision rejects a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reason {
    /// It is a duplicate of another row.
    Duplicate(Repeat),
    /// One of its images is an outlier.
    Outlier(Outlier),
}

/// The reasons of all rows, for a pass over them.
pub(super) struct Reasons<'d> {
    status: &'d [Status],
    drop: &'d [&'static Rule],
    duplicates: Cursor<'d, Repeated, ScratchFile>,
    outliers: Cursor<'d, StoredOutlier, ScratchFile>,
    next_outlier: Option<StoredOutlier>,
}

impl<'d> Reasons<'d> {
    /// Starts at the first row. `drop` are the rules about outliers that reject rows.
    pub(super) fn new(decided: &'d Decided, drop: &'d [&'static Rule]) -> io::Result<Reasons<'d>> {
        let (duplicates, mut outliers) = (decided.duplicates.cursor()?, decided.outliers.cursor()?);
        let next_outlier = outliers.next()?;
        Ok(Reasons { status: &decided.status, drop, duplicates, outliers, next_outlier })
    }

    /// The reason of the next row, if the decision rejects it. Rows are asked for in order, none is skipped.
    pub(super) fn of(&mut self, row: u32) -> io::Result<Option<Reason>> {
        match self.status[row as usize] {
            Status::Train | Status::Validation | Status::Test | Status::Rejected => Ok(None),
            Status::Duplicate => {
                let repeated = self.duplicates.next()?.filter(|repeated| repeated.row == row);
                let repeated = repeated.ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some(Reason::Duplicate(repeated.repeat())))
            }
            Status::Outlier => {
                while let Some(stored) = self.next_outlier.filter(|outlier| outlier.row <= row) {
                    let outlier = stored.outlier();
                    self.next_outlier = self.outliers.next()?;
                    if stored.row == row && self.drop.contains(&outlier.rule) {
                        return Ok(Some(Reason::Outlier(outlier)));
                    }
                }
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}
