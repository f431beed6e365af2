//! A stand-in for vLLM: its models, chats and endpoints for adapters, with its messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pixtune_core::json::{self, Value};

/// A stand-in for vLLM, until the test ends.
pub struct Vllm {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

/// What it has and what it was asked.
#[derive(Default)]
pub struct State {
    /// Adapters: name and path.
    pub adapters: BTreeMap<String, String>,
    /// Adapters can be loaded while it runs.
    pub is_dynamic: bool,
    /// It asks for this key.
    pub key: Option<String>,
    /// The model that it was started with.
    pub root: String,
    /// Every request: method and path, the key, the body.
    pub asked: Vec<(String, String, String)>,
}

impl Vllm {
    /// Serves the model in this directory as `served`.
    pub fn start(root: &Path) -> Vllm {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { is_dynamic: true, root: root.display().to_string(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                // A client that has gone is no failure of the test.
                thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Vllm { url, state }
    }

    /// The bodies of the requests to a path.
    pub fn bodies(&self, path: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(asked, _, _)| asked == path).map(|(_, _, body)| body.clone()).collect()
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => value.clone_into(&mut key),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    state.lock().unwrap().asked.push((path.clone(), key.clone(), body.clone()));
    let expected = state.lock().unwrap().key.clone();
    let (status, kind, text) = match expected.is_some_and(|expected| key != format!("Bearer {expected}")) {
        true => (401, "application/json", r#"{"error":"Unauthorized"}"#.to_owned()),
        false => respond(&path, &body, state),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{text}")
}

type Response = (u16, &'static str, String);

fn error(status: u16, message: &str) -> Response {
    let text = format!(
        r#"{{"error":{{"message":{},"type":"E","param":null,"code":{status}}}}}"#,
        json::quoted(message)
    );
    (status, "application/json", text)
}

fn respond(path: &str, body: &str, state: &Mutex<State>) -> Response {
    let parsed = json::parse(body).map(|parsed| parsed.value.into_owned()).unwrap_or(Value::Null);
    let name = parsed.text("lora_name").unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    match path {
        "GET /v1/models" => {
            let card = |id: &str, root: &str, parent: &str| {
                format!(
                    r#"{{"id":"{id}","object":"model","owned_by":"vllm","root":"{root}","parent":{parent}}}"#
                )
            };
            let mut cards = vec![card("served", &state.root, "null")];
            cards.extend(state.adapters.iter().map(|(name, path)| card(name, path, "\"served\"")));
            (200, "application/json", format!(r#"{{"object":"list","data":[{}]}}"#, cards.join(",")))
        }
        "POST /v1/load_lora_adapter" if state.is_dynamic => {
            let path = parsed.text("lora_path").unwrap_or_default().to_owned();
            if state.adapters.contains_key(&name) {
                return error(
                    400,
                    &format!(
                        "The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True."
                    ),
                );
            }
            if !Path::new(&path).join("adapter_config.json").is_file() {
                return error(404, &format!("Loading lora {name} failed: No adapter found for {path}"));
            }
            let text = format!("Success: LoRA adapter '{name}' added successfully.");
            state.adapters.insert(name, path);
            (200, "text/plain", text)
        }
        "POST /v1/unload_lora_adapter" if state.is_dynamic => match state.adapters.remove(&name) {
            Some(_) => (200, "text/plain", format!("Success: LoRA adapter '{name}' removed successfully.")),
            None => error(404, &format!("The lora adapter '{name}' cannot be found.")),
        },
        "POST /v1/chat/completions" => {
            let model = parsed.text("model").unwrap_or_default().to_owned();
            let is_known = model == "served" || state.adapters.contains_key(&model);
            drop(state);
            match is_known {
                true => chat(&model, &parsed, body),
                false => error(404, &format!("The model `{model}` does not exist.")),
            }
        }
        _ => (404, "application/json", r#"{"detail":"Not Found"}"#.to_owned()),
    }
}

/// What it answers depends on words in the conversation.
fn chat(model: &str, request: &Value<'_>, body: &str) -> Response {
    if body.contains("slow") {
        thread::sleep(Duration::from_secs(8));
    }
    if body.contains("too long") {
        return error(
            400,
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        );
    }
    let choices = request.get("n").map_or(1, |n| json::text(n).parse::<usize>().unwrap());
    let mut deltas = vec![r#""delta":{"role":"assistant","content":""},"finish_reason":null"#.to_owned()];
    if request.get("tools").is_some() {
        let call =
            |part: &str| format!(r#""delta":{{"tool_calls":[{{"index":0,{part}}}]}},"finish_reason":null"#);
        deltas.push(call(
            r#""id":"chatcmpl-tool-1","type":"function","function":{"name":"weather","arguments":""}"#,
        ));
        deltas.push(call(r#""function":{"arguments":"{\"city\":"}"#));
        deltas.push(call(r#""function":{"arguments":"\"Bern\"}"}"#));
        deltas.push(r#""delta":{"content":null},"finish_reason":"tool_calls""#.to_owned());
    } else {
        for text in ["I am ", model] {
            deltas.push(format!(r#""delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":null"#));
        }
        deltas.push(r#""delta":{"content":""},"finish_reason":"stop","stop_reason":null"#.to_owned());
    }
    let mut text = String::new();
    for delta in &deltas {
        for index in 0..choices {
            let head = format!(
                r#""id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"{model}""#
            );
            writeln!(text, "data: {{{head},\"choices\":[{{\"index\":{index},{delta}}}]}}\n").unwrap();
        }
        if body.contains("boom") {
            text += "data: {\"error\":{\"message\":\"EngineCore died\",\"code\":500}}\n\n";
        }
    }
    text += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":10,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    (200, "text/event-stream", text)
}
