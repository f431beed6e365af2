//! Webhooks: signed notices that are sent until they are accepted, also by a later server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::jobs::long_job;
use super::{Server, served};

/// A notice: the names and values of its headers, and its body.
struct Notice {
    headers: Vec<(String, String)>,
    body: String,
}

impl Notice {
    fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1
    }
}

/// A receiver that answers with these statuses, then with 204.
fn receiver(statuses: Vec<u16>) -> (String, Receiver<Notice>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, notices) = channel();
    let mut statuses = statuses.into_iter();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.trim().split_once(": ") {
                    headers.push((name.to_ascii_lowercase(), value.to_owned()));
                }
            }
            let length =
                headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = statuses.next().unwrap_or(204);
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            let _ = sender.send(Notice { headers, body: String::from_utf8(body).unwrap() });
        }
    });
    (url, notices)
}

fn next(notices: &Receiver<Notice>) -> Notice {
    notices.recv_timeout(Duration::from_secs(120)).unwrap()
}

#[test]
fn the_end_of_a_job_is_sent_until_it_is_accepted() {
    let (case, samples) = served();
    let (url, notices) = receiver(vec![500]);
    let added =
        case.run(&["serve", "webhooks", "add", &url, "--allow-private", "--data-dir", "data"]).ends(0);
    assert!(added.stdout.starts_with("whsec_"), "{}", added.stdout);
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 1);
    let id = path.rsplit('/').next().unwrap().to_owned();
    let first = next(&notices);
    assert!(first.body.contains(r#""type":"fine_tuning.job.succeeded""#), "{}", first.body);
    assert!(first.body.ends_with(&format!(r#""data":{{"id":"{id}"}}}}"#)), "{}", first.body);
    assert!(first.header("webhook-signature").starts_with("v1,"));
    let list = || case.run(&["serve", "webhooks", "list", "--data-dir", "data"]).ends(0).stdout;
    while !list().contains("fine_tuning.job.succeeded not accepted after 1 attempt: status 500") {
        thread::sleep(Duration::from_millis(20));
    }
    // The next server sends it again.
    server.kill();
    let server = Server::start(&case, &[]);
    let second = next(&notices);
    assert_eq!((second.header("webhook-id"), &second.body), (first.header("webhook-id"), &first.body));
    let cancelled = long_job(&server, &samples, 100_000);
    assert_eq!(server.post(&format!("{cancelled}/cancel"), "").status, 200);
    let third = next(&notices);
    assert!(third.body.contains(r#""type":"fine_tuning.job.cancelled""#), "{}", third.body);
    let listed = list();
    let hook = listed.split(' ').next().unwrap();
    case.run(&["serve", "webhooks", "remove", hook, "--data-dir", "data"]).ends(0);
    case.run(&["serve", "webhooks", "remove", hook, "--data-dir", "data"]).ends(2);
    assert_eq!(list(), "");
}

#[test]
fn hosts_in_private_networks_are_refused() {
    let (case, samples) = served();
    let (url, notices) = receiver(Vec::new());
    case.run(&["serve", "webhooks", "add", &url, "--data-dir", "data"]).ends(0);
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 1);
    server.wait(&path, |status| status == "succeeded");
    let list = ["serve", "webhooks", "list", "--data-dir", "data", "--format", "json"];
    let expected = "the host is in a private network: `--allow-private` allows it";
    while !case.run(&list).ends(0).stdout.contains(expected) {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(notices.try_recv().is_err());
    for wrong in ["ftp://a/", "http://", "http://user:password@a/", "a b"] {
        case.run(&["serve", "webhooks", "add", wrong, "--data-dir", "data"]).ends(2);
    }
    case.run(&["serve", "webhooks", "add", "http://a/", "--events", "nope", "--data-dir", "data"]).ends(2);
}
