//! LoRA adapters: dialects, conversion, merge and what a server does with them.
