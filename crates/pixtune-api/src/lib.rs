//! The fine-tuning APIs of Mistral and OpenAI on one's own machine: files, jobs, models and chat.

mod answer;
mod api;
mod batch;
mod blobs;
mod catalog;
mod client;
mod clock;
mod error;
mod handlers;
mod http;
mod ids;
mod log;
mod openapi;
mod request;
mod routes;
mod run;
mod sample_rules;
mod server;
mod store;
mod streams;
mod training_file;
mod upstream;
mod vendor;
mod webhooks;
mod wire;

pub use api::Limits;
pub use catalog::CatalogError;
pub use client::{Client, ClientError, UploadEvent};
pub use http::{ListenError, form};
pub use log::LogEntry;
pub use run::{CPU, ExternalTrainer, Trainer};
pub use server::{Options, ServeError, Server};
pub use store::{DATABASE, EVENTS, Key, LastDelivery, Scope, Store, StoreError, WEBHOOK_EVENTS, Webhook};
pub use upstream::UpstreamOptions;
pub use vendor::Vendor;
pub use webhooks::shown as webhook_secret;
