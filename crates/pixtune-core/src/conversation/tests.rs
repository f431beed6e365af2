use super::*;
use crate::json;

fn read_text(text: &str) -> (Sample<Image>, Vec<String>) {
    let parsed = json::parse(text).unwrap();
    let (sample, findings) = read(&parsed.value, &["id"]);
    (sample, findings.iter().map(|f| format!("{} {}", f.rule.id, f.pointer)).collect())
}

#[test]
fn reads_both_spellings_of_an_image() {
    for url in [r#""a/b.png""#, r#"{"url":"a/b.png"}"#] {
        let text = format!(
            r#"{{"id":7,"messages":[{{"role":"user","content":[{{"type":"text","text":"what?"}},{{"type":"image_url","image_url":{url}}}]}},{{"role":"assistant","content":"a cat"}}]}}"#
        );
        let (sample, findings) = read_text(&text);
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(sample.images[0].source, ImageSource::File("a/b.png".into()));
        assert_eq!(sample.images[0].pointer, "/messages/0/content/1/image_url");
        assert_eq!(
            sample.messages[0],
            Message::User(Content::Parts(vec![Part::Text("what?".into()), Part::Image(0)]))
        );
    }
}

#[test]
fn keeps_tools_calls_and_results() {
    let (sample, findings) = read_text(
        r#"{"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],
        "messages":[{"role":"user","content":"x"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","content":"1","tool_call_id":"abcdefghi","name":"f"},{"role":"assistant","content":"one","weight":0}]}"#,
    );
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(sample.tools.len(), 1);
    let Message::Assistant(call) = &sample.messages[1] else { panic!() };
    assert_eq!((call.tool_calls[0].name.as_str(), &call.content), ("f", &None));
    let Message::Assistant(last) = &sample.messages[3] else { panic!() };
    assert_eq!(last.weight, Some(false));
}

#[test]
fn reports_what_it_drops_and_rejects() {
    let (_, findings) = read_text(
        r#"{"source":"x","messages":[{"role":"user","name":null,"content":[{"type":"audio"},{"text":"t"},3]},
        {"role":"function","content":""},{"role":"assistant","content":[{"type":"image_url","image_url":"a"}]},{"role":"user"},7]}"#,
    );
    assert_eq!(
        findings,
        [
            "unknown-key /source",
            "null-key /messages/0/name",
            "wrong-type /messages/0/content/0",
            "wrong-type /messages/0/content/2",
            "unknown-role /messages/1",
            "image-role /messages/2/content/0",
            "missing-field /messages/3",
            "unknown-role /messages/4",
        ]
    );
}

#[test]
fn reports_missing_messages_at_their_key() {
    for (row, expected) in [
        (r#"{"messages":[]}"#, vec!["no-messages /messages"]),
        (r#"{"messages":null}"#, vec!["null-key /messages", "no-messages "]),
        (r#"{"interactions":[]}"#, vec!["no-messages /interactions"]),
        ("{}", vec!["no-messages "]),
    ] {
        assert_eq!(read_text(row).1, expected, "{row}");
    }
}

#[test]
fn distinguishes_paths_urls_and_data_uris() {
    let file = |path: &str| Ok(ImageSource::File(path.into()));
    assert_eq!(image_source("a b/c.png"), file("a b/c.png"));
    assert_eq!(image_source("file:///tmp/a%20b.png"), file("/tmp/a b.png"));
    assert_eq!(image_source("file://localhost/tmp/%zz.png"), file("/tmp/%zz.png"));
    assert_eq!(image_source("C:\\x.png"), file("C:\\x.png"));
    assert_eq!(image_source("HTTPS://x/y"), Ok(ImageSource::Url("HTTPS://x/y".into())));
    let inline = ImageSource::Inline { mime: "image/png".into(), base64: "AAAA".into() };
    assert_eq!(image_source("data:image/PNG;base64,AAAA"), Ok(inline));
    for bad in ["data:image/png;base64", "data:image/png,AAAA", "data:image/png;base64,"] {
        assert_eq!(image_source(bad).unwrap_err().rule.id, "image-bad-data-uri", "{bad}");
    }
}
