//! URLs as people write them, and as they are requested.

use ureq::http::Uri;

/// The URL to request: spaces and characters outside ASCII are percent-encoded, as browsers do, and the fragment is removed.
/// `None` if no image can be requested there.
pub(crate) fn requested(url: &str) -> Option<Uri> {
    let url = url.trim();
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let mut encoded = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..=b' ' | 0x7f.. => {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    let uri: Uri = encoded.parse().ok()?;
    let is_http = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty() && !host.contains('%'));
    (is_http && has_host).then_some(uri)
}

/// The host of a URL, with its port: what requests are limited by.
pub(crate) fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    format!("{host}:{}", uri.port_u16().unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_encoded_as_browsers_do() {
        let encoded = |url: &str| requested(url).map(|uri| uri.to_string());
        let same = "http://h/a%20b.jpg?x=1&y=[2]";
        assert_eq!(encoded(same).as_deref(), Some(same));
        assert_eq!(encoded(" https://h/a b.jpg#top\n").as_deref(), Some("https://h/a%20b.jpg"));
        assert_eq!(encoded("http://h/M\u{fc}ller.jpg").as_deref(), Some("http://h/M%C3%BCller.jpg"));
        for none in
            ["http://", "ftp://h/a", "http://a b/", "file:///etc/passwd", "http://m\u{fc}ller/a", "//h/a", ""]
        {
            assert_eq!(encoded(none), None, "{none}");
        }
    }

    #[test]
    fn hosts_have_ports() {
        let host = |url: &str| host(&requested(url).unwrap());
        assert_eq!(host("http://Example.com/a"), "example.com:80");
        assert_eq!(host("https://example.com:8443/a"), "example.com:8443");
        assert_eq!(host("https://u:p@example.com/a"), "example.com:443");
    }
}
