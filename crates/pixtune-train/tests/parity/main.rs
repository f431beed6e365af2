//! The network against transformers and PEFT, on tiny random models.
//!
//! `fixtures/tiny_pixtral` was made by its `gen_fixture.py`; another directory of that layout is tried where `PIXTUNE_FIXTURE`
//! names one. `fixtures/tiny_train` was made by its `ref.py`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

mod adapters;
mod fixture;
mod generation;
mod invariants;
mod logits;
mod tiny_train;
mod training;
mod whole_tensors;
