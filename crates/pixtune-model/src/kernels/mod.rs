//! The operations of the network over plain buffers, forward and backward.
