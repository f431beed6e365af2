//! The vocabulary of pixtune and everything that can be decided without touching the world.
pub mod json;
pub mod sample;
