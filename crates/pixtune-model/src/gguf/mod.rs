//! GGUF, the file format of llama.cpp and the programs around it: a model as two files, one of the text decoder with its
//! vocabulary, and one of the vision encoder with the projector (`mmproj`).
//!
//! [`Plan::new`] refuses everything that can be refused; [`Plan::run`] streams the bytes. All weights equal those of the
//! checkpoint in Mistral's format where the type keeps them; rows of queries and keys of Hugging Face checkpoints are permuted.
//! [`Header::read`] reads the header of any GGUF file.
//!
//! Names of tensors and keys are those of llama.cpp b11434 (`gguf-py/gguf/constants.py`, `tools/mtmd/clip-impl.h`).

mod adapter;
mod element;
mod error;
mod header;
mod layout;
mod metadata;
mod plan;
mod text;
mod view;
mod vision;
mod vocabulary;
mod write;

pub use adapter::write_adapter;
pub use element::Element;
pub use error::GgufError;
pub use header::{Found, FoundTensor, Header};
pub use plan::{Options, Plan};
pub use view::{View, files};
pub use write::Written;
