//! What training on a target requires.

/// Which weights are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Adapters; the model's weights are frozen in bfloat16.
    Lora,
    /// Adapters; the model's weights are frozen in 4 bits.
    Qlora,
    /// Every weight but those of the vision encoder.
    Full,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 3] = [Method::Lora, Method::Qlora, Method::Full];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Lora => "lora",
            Method::Qlora => "qlora",
            Method::Full => "full",
        }
    }
}

/// What training requires of the method, the model, the settings and the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Supported methods.
    pub methods: &'static [Method],
    /// The chat template keeps system prompts.
    pub keeps_system_prompts: bool,
    /// The setting that admits the longest sample; `{}` stands for its tokens.
    pub length_setting: Option<&'static str>,
    /// The setting that keeps images at the model's resolution; `{}` stands for its pixels.
    pub pixels_setting: Option<&'static str>,
    /// Settings that every run needs.
    pub settings: &'static [&'static str],
    /// The setting for datasets whose images differ in size, where a batch of them fails.
    pub mixed_sizes_setting: Option<&'static str>,
    /// The setting for datasets whose decoded images do not fit into memory, where all are decoded at the start; `{}` stands
    /// for their gigabytes.
    pub decoded_images_setting: Option<&'static str>,
    /// Changes that every dataset needs.
    pub changes: &'static [&'static str],
    /// What else to know.
    pub notes: &'static [&'static str],
    /// Floating-point operations per second and CPU core, where training runs on the CPU.
    pub core_flops: Option<f64>,
}

/// No requirement is known.
pub(super) const ANY: Training = Training {
    methods: &Method::ALL,
    keeps_system_prompts: true,
    length_setting: None,
    pixels_setting: None,
    settings: &[],
    mixed_sizes_setting: None,
    decoded_images_setting: None,
    changes: &[],
    notes: &[],
    core_flops: None,
};
