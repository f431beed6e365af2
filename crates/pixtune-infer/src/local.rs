//! A model on a device of this machine.

use pixtune_cuda::OpenDevice;
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::{DeviceTask, Kernels};
use pixtune_model::network::{Batch, LoraConfig, Network, NetworkError, NetworkOptions};

use crate::answerer::{Answer, Answerer, Request};
use crate::directory::ModelDirectory;
use crate::encode::prompt;
use crate::error::{AnswerError, ModelError};
use crate::generation::Generation;

/// Loads a model directory, and perhaps an adapter, onto a device.
pub fn load<'d>(
    directory: &'d ModelDirectory,
    adapter: Option<&Adapter>,
    options: NetworkOptions,
    device: OpenDevice,
) -> Result<Box<dyn Answerer + 'd>, ModelError> {
    device.run(Load { directory, adapter, options })
}

struct Load<'d, 'a> {
    directory: &'d ModelDirectory,
    adapter: Option<&'a Adapter>,
    options: NetworkOptions,
}

impl<'d> DeviceTask for Load<'d, '_> {
    type Output = Result<Box<dyn Answerer + 'd>, ModelError>;

    fn run<K: Kernels>(self, kernels: K) -> Self::Output {
        Ok(Box::new(LocalModel::load(self.directory, self.adapter, self.options, kernels)?))
    }
}

/// A network on one device, with or without an adapter, that answers any number of requests.
#[derive(Debug)]
pub struct LocalModel<'d, K: Kernels> {
    directory: &'d ModelDirectory,
    network: Network<'d, K>,
}

impl<'d, K: Kernels> LocalModel<'d, K> {
    /// Loads the weights of a model directory onto a device.
    pub fn load(
        directory: &'d ModelDirectory,
        adapter: Option<&Adapter>,
        options: NetworkOptions,
        kernels: K,
    ) -> Result<LocalModel<'d, K>, ModelError> {
        let checkpoint = directory.checkpoint();
        let network = match adapter {
            None => Network::load_frozen(kernels, checkpoint, options)?,
            Some(adapter) => {
                let lora = LoraConfig::of(adapter)?;
                let mut network = Network::load(kernels, checkpoint, &lora, options)?;
                network.load_adapter(adapter)?;
                network
            }
        };
        Ok(LocalModel { directory, network })
    }

    /// The request as the network reads it, if prompt and response fit into the context.
    fn prompt(&self, request: &Request) -> Result<Batch, AnswerError> {
        let sequence = prompt(&self.directory.encoder(), &request.conversation)?;
        let prompt =
            Batch::pack(&[sequence], self.network.shape().image_token).map_err(NetworkError::from)?;
        let (prompt_tokens, max_tokens) = (prompt.tokens(), request.max_tokens);
        let limit = self.directory.max_tokens();
        match prompt_tokens.saturating_add(max_tokens) > limit {
            true => Err(AnswerError::TooLong { prompt_tokens, max_tokens, limit }),
            false => Ok(prompt),
        }
    }
}

impl<K: Kernels> Answerer for LocalModel<'_, K> {
    fn answer<'a>(&'a self, request: &Request) -> Result<Answer<'a>, AnswerError> {
        let prompt = self.prompt(request)?;
        let tokenizer = self.directory.vocabulary();
        let Request { sampling, max_tokens, logprobs, .. } = *request;
        let answer = Generation::new(&self.network, tokenizer, prompt, sampling, max_tokens);
        Ok(Box::new(answer.with_logprobs(logprobs).with_stop(request.stop.clone())))
    }
}
