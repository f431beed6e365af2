//! Token ids against the saved answers of mistral-common 1.13.1 (`fixtures/vectors`), and what must hold for any text.

mod texts;
mod vectors;
