//! Vision encoder, projector and decoder of Pixtral.
