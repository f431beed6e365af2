//! What a walk over the blocks of a file finds wrong with them.

/// The first fault of each kind.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) refused: Option<String>,
    pub(super) doubtful: Option<String>,
}

impl Faults {
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.refused.get_or_insert_with(|| why.into());
    }

    pub(super) fn refuse_if(&mut self, fault: bool, why: &str) {
        if fault {
            self.refuse(why);
        }
    }

    pub(super) fn doubt(&mut self, why: impl Into<String>) {
        self.doubtful.get_or_insert_with(|| why.into());
    }

    pub(super) fn doubt_if(&mut self, fault: bool, why: &str) {
        if fault {
            self.doubt(why);
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}
