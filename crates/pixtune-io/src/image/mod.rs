//! Pictures: sniff, decode, orient, resize, encode, measure.
