//! Models behind an endpoint: what is asked, how often, and what becomes of answers that do not come.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pixtune_core::json;

use super::{case, scores, text};
use crate::harness::{Case, at, read_directory};
use crate::snapshots::check;

/// What an endpoint does with its n-th request.
type Behavior = dyn Fn(usize, &str, &mut TcpStream) + Send + Sync;

/// An endpoint, its URL, and the bodies it received.
pub(super) struct Endpoint {
    pub(super) url: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    pub(super) fn start(behavior: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (seen, behavior): (_, Arc<Behavior>) = (Arc::clone(&bodies), Arc::new(behavior));
        let count = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, behavior, count) = (Arc::clone(&seen), Arc::clone(&behavior), Arc::clone(&count));
                std::thread::spawn(move || serve(stream, &count, &seen, &*behavior));
            }
        });
        Endpoint { url, bodies }
    }

    pub(super) fn asked(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, count: &AtomicUsize, seen: &Mutex<Vec<String>>, behavior: &Behavior) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut authorized = true;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        authorized &= !lower.starts_with("authorization:") || lower.ends_with("bearer sk-test");
    }
    assert!(authorized);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    seen.lock().unwrap().push(body.clone());
    behavior(count.fetch_add(1, Ordering::SeqCst), &body, &mut stream);
}

pub(super) fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

pub(super) fn answer(stream: &mut TcpStream, text: &str) {
    let text = json::quoted(text);
    let body = format!(
        r#"{{"choices":[{{"message":{{"role":"assistant","content":{text}}},"finish_reason":"stop"}}]}}"#
    );
    respond(stream, "200 OK", "", &body);
}

/// The right answer to a question of [`case`].
fn right(body: &str) -> &'static str {
    let answers = [("bars", "6"), ("year", "1999"), ("city", "Paris"), ("Share", "6%"), ("Sum", "70")];
    answers.iter().find(|(word, _)| body.contains(word)).unwrap().1
}

fn ask(case: &Case, endpoint: &Endpoint, more: &[&str]) -> crate::harness::Run {
    let args = [
        "evaluate",
        "data.jsonl",
        "--endpoint",
        &endpoint.url,
        "--served-model",
        "tuned",
        "--metric",
        "relaxed",
        "--out",
        "out",
    ];
    let mut command = case.command(&[&args[..], more].concat());
    command.env("PIXTUNE_API_KEY", "sk-test");
    crate::harness::finish(command)
}

#[test]
fn an_endpoint_is_asked_with_images_until_it_answers() {
    // Of the first requests none is answered, each in another way.
    let endpoint = Endpoint::start(|number, body, stream| match number {
        0 => respond(stream, "429 Too Many Requests", "retry-after: 0\r\n", "{}"),
        1 => respond(stream, "500 Internal Server Error", "", "oops"),
        2 => respond(stream, "200 OK", "", "<!doctype html><title>Proxy</title>"),
        3 => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"choices\":[");
        }
        4 => drop(stream.shutdown(std::net::Shutdown::Both)),
        _ => answer(stream, right(body)),
    });
    let case = case();
    ask(&case, &endpoint, &["--concurrency", "2"]).ends(0);
    assert_eq!(text(&scores(&case, "out"), "/model/score"), "1");
    assert_eq!(endpoint.asked(), 10);
    let body = json::parse(&endpoint.bodies.lock().unwrap()[0]).unwrap().value.into_owned();
    assert!(text(&body, "/messages/0/content/0/image_url/url").starts_with("data:image/png;base64,iVBOR"));
    assert_eq!((text(&body, "/model"), text(&body, "/temperature")), ("tuned".into(), "0".into()));
    assert!(!fs::read_to_string(case.path("out/predictions.jsonl")).unwrap().contains("sk-test"));
}

#[test]
fn answers_that_cannot_be_had_are_named_and_asked_for_again() {
    let endpoint = Endpoint::start(|_, body, stream| match right(body) {
        "6" => {
            respond(stream, "400 Bad Request", "", r#"{"error":{"message":"image too small, key sk-test"}}"#);
        }
        "1999" => respond(
            stream,
            "200 OK",
            "",
            r#"{"choices":[{"message":{"content":null,"refusal":"I cannot"}}]}"#,
        ),
        "Paris" => answer(stream, &"long ".repeat(200_000)),
        "6%" => answer(stream, ""),
        _ => std::thread::sleep(Duration::from_secs(30)),
    });
    let case = case();
    let run = ask(&case, &endpoint, &["--retries", "0", "--timeout", "2"]).ends(1);
    check("evaluate-failures.txt", &format!("{}\n{}", run.stderr, run.stdout));
    assert!(fs::metadata(case.path("out/report.html")).unwrap().len() < 200_000);
    let found = scores(&case, "out");
    for (kind, count) in [("rejected", "1"), ("refused", "1"), ("timeout", "1")] {
        assert_eq!(text(at(&found, "/model/failures"), &format!("/{kind}")), count);
    }
    assert_eq!((text(&found, "/model/empty"), text(&found, "/model/scored")), ("1".into(), "2".into()));
    let before = endpoint.asked();
    ask(&case, &endpoint, &["--retries", "0", "--timeout", "2", "--resume"]).ends(1);
    assert_eq!(endpoint.asked(), before + 3, "only what failed is asked again");
}

#[test]
fn images_that_cannot_be_sent_are_errors() {
    let endpoint = Endpoint::start(|_, body, stream| answer(stream, right(body)));
    let case = case();
    let mut rows = case.read("data.jsonl");
    let url = "http://127.0.0.1:9/a.png";
    for (image, prompt) in [(url, "Sum of two?"), ("data:image/png;base64,iVBORw0KGgo=", "Sum of three?")] {
        rows += &format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{image}"}},{{"type":"text","text":"{prompt}"}}]}},{{"role":"assistant","content":"70"}}]}}"#
        );
        rows.push('\n');
    }
    case.write("data.jsonl", rows);
    let run =
        ask(&case, &endpoint, &[]).ends(1).prints("error[image-url]: data.jsonl:6 /messages/0/content/0");
    run.prints("error[image-unreadable]: data.jsonl:7");
    assert_eq!(endpoint.asked(), 5);
    assert_eq!(text(&scores(&case, "out"), "/model/failures/image"), "2");
}

#[test]
fn a_killed_run_resumes_without_asking_twice() {
    // The fourth request is never answered.
    let endpoint = Endpoint::start(|number, body, stream| match number {
        3 => std::thread::sleep(Duration::from_secs(60)),
        _ => answer(stream, right(body)),
    });
    let case = case();
    let args = [
        "evaluate",
        "data.jsonl",
        "--endpoint",
        &endpoint.url,
        "--served-model",
        "tuned",
        "--concurrency",
        "1",
        "--out",
        "out",
    ];
    let mut child = case.command(&args).spawn().unwrap();
    while endpoint.asked() < 4 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!case.path("out").exists());
    case.run(&args).ends(2).prints("an earlier run did not finish `out`");
    case.run(&[&args[..], &["--resume"]].concat()).ends(0);
    assert_eq!(endpoint.asked(), 4 + 2);
    assert_eq!(text(&scores(&case, "out"), "/model/score"), "1");
}

#[test]
fn an_endpoint_that_is_down_or_refuses_the_key_ends_the_run() {
    let case = case();
    let down = Endpoint { url: "http://127.0.0.1:9/v1".into(), bodies: Arc::default() };
    ask(&case, &down, &["--retries", "0"])
        .ends(2)
        .prints("`tuned` gave no answer to 5 samples: cannot connect: the connection is refused");
    assert!(!case.path("out").exists() && !case.path("out.partial").exists());
    let closed =
        Endpoint::start(|_, _, stream| respond(stream, "401 Unauthorized", "", r#"{"detail":"bad key"}"#));
    ask(&case, &closed, &[]).ends(2).prints("the endpoint answers 401: bad key");
    assert_eq!(closed.asked(), 5);
    ask(&case, &Endpoint { url: "localhost:1".into(), bodies: Arc::default() }, &[])
        .ends(2)
        .prints("is not an http or https URL");
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let endpoint = Endpoint::start(|number, body, stream| {
        std::thread::sleep(Duration::from_millis([40, 5, 20, 0][number % 4]));
        answer(stream, right(body));
    });
    let case = case();
    let with = |concurrency: &str| {
        ask(&case, &endpoint, &["--concurrency", concurrency, "--phrasings", "3", "--force"]).ends(0);
        read_directory(&case.path("out"))
    };
    let alone = with("1");
    assert!(with("6") == alone, "answers that arrive in another order give other bytes");
    assert_eq!(endpoint.asked(), 2 * 15);
}

#[test]
fn samples_that_depend_on_the_phrasing_are_counted() {
    // Right as written; with the fourth phrasing only the first question.
    let endpoint = Endpoint::start(|_, body, stream| {
        let reasons = body.contains("Reason step by step");
        match (reasons, right(body)) {
            (true, "6") => answer(stream, "Six bars.\nFinal Answer: 6"),
            (true, _) => answer(stream, "Final Answer: unknown"),
            (false, right) => answer(stream, right),
        }
    });
    let case = case();
    let run = ask(&case, &endpoint, &["--phrasings", "4"]).ends(0);
    assert!(
        run.stdout.contains("4 samples change between right and wrong with the phrasing"),
        "{}",
        run.stdout
    );
    let found = scores(&case, "out");
    assert_eq!(text(&found, "/model/score_over_phrasings/min"), "0.2");
    assert_eq!(text(&found, "/model/score_over_phrasings/max"), "1");
    assert_eq!(text(&found, "/model/score"), "0.8");
    assert_eq!(
        (text(&found, "/model/samples_that_flip"), text(&found, "/model/spread_of_a_sample/mean")),
        ("4".into(), "0.8".into())
    );
    case.write("broken.txt", "no gap\n");
    ask(&case, &endpoint, &["--phrasings", "broken.txt", "--force"])
        .ends(2)
        .prints("`broken.txt`: phrasing 1 has `{prompt}` 0 times");
    ask(&case, &endpoint, &["--phrasings", "99", "--force"])
        .ends(2)
        .prints("there are 8 built-in phrasings, not 99");
}
