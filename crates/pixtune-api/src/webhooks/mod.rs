//! Notices to webhooks: signed as OpenAI signs them (Standard Webhooks), and sent again until they are accepted.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pixtune_io::base64;
use pixtune_io::network::{Networks, filtered};
use ring::hmac;
use ureq::Agent;

use crate::clock::now;
use crate::run::Signal;
use crate::store::{Delivery, Store, StoreError};

/// Notices that are sent at the same time.
const AT_ONCE: u32 = 8;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Seconds after each attempt until the next one: about three days, as at OpenAI.
const PAUSES: [i64; 10] = [5, 30, 120, 600, 1800, 3600, 10_800, 43_200, 86_400, 115_200];

/// How a secret begins where people see it.
const PREFIX: &str = "whsec_";

/// A secret as its receiver gets it.
pub fn shown(secret: &[u8]) -> String {
    let mut coded = Vec::new();
    base64::encode(secret, &mut coded);
    format!("{PREFIX}{}", String::from_utf8_lossy(&coded))
}

/// The signature of a notice.
fn signature(secret: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    let mut coded = Vec::new();
    base64::encode(tag.as_ref(), &mut coded);
    format!("v1,{}", String::from_utf8_lossy(&coded))
}

/// Sends notices until the server ends; what is not sent then is sent by the next one.
pub fn run(store: &Arc<Store>, signal: &Signal, log: &dyn Fn(&str)) {
    let mut last = String::new();
    loop {
        let fault = send_due(store).err().map_or(String::new(), |error| error.to_string());
        // A fault that lasts is reported once.
        if !fault.is_empty() && fault != last {
            log(&format!("webhooks: {fault}"));
        }
        last = fault;
        if !signal.wait() {
            return;
        }
    }
}

fn send_due(store: &Store) -> Result<(), StoreError> {
    let due = store.due_deliveries(AT_ONCE)?;
    let sent: Vec<Result<(), Refused>> = thread::scope(|scope| {
        let threads: Vec<_> = due.iter().map(|delivery| scope.spawn(|| send(delivery))).collect();
        let failed = || Err(Refused { why: "the request failed".to_owned(), is_final: false });
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect()
    });
    for (delivery, sent) in due.iter().zip(sent) {
        match sent {
            Ok(()) => store.delivered(delivery.seq)?,
            Err(refused) => {
                let attempt = usize::try_from(delivery.attempts).unwrap_or(usize::MAX);
                let again = PAUSES.get(attempt).copied().filter(|_| !refused.is_final);
                store.undelivered(delivery.seq, &refused.why, again)?;
            }
        }
    }
    Ok(())
}

/// Why a notice was not accepted.
struct Refused {
    why: String,
    /// The receiver is gone.
    is_final: bool,
}

fn send(delivery: &Delivery) -> Result<(), Refused> {
    let Delivery { webhook, event, body, .. } = delivery;
    let networks = if webhook.allows_private { Networks::All } else { Networks::Public };
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
    let timestamp = now();
    let response = filtered(config.build(), networks)
        .post(&webhook.url)
        .content_type("application/json")
        .header("webhook-id", event)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature(&webhook.secret, event, timestamp, body))
        .send(body);
    let response = response.map_err(|error| Refused { why: explain(&error), is_final: false })?;
    match response.status().as_u16() {
        200..300 => Ok(()),
        status => Err(Refused { why: format!("status {status}"), is_final: status == 410 }),
    }
}

fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "the host is in a private network: `--allow-private` allows it".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = base64::decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(shown(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }
}
