//! References to images: data URIs, URLs, paths.

use crate::content::is_base64_image;
use crate::diagnostic::Finding;
use crate::rules::IMAGE_BAD_DATA_URI;
use crate::sample::ImageSource;

/// Parses an image reference: a data URI, bare base64 of an image, a URL, or a path (of which `file://` is removed).
pub fn image_source(reference: &str) -> Result<ImageSource, Finding> {
    image_source_within(reference).map(ImageSource::into_owned)
}

/// The same, borrowing the payload of a data URI.
pub(crate) fn image_source_within(reference: &str) -> Result<ImageSource<&str>, Finding> {
    let trimmed = reference.trim();
    let scheme = trimmed.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    match scheme.as_str() {
        "data" => data_uri(trimmed),
        "http" | "https" => Ok(ImageSource::Url(trimmed.to_owned())),
        "file" => Ok(ImageSource::File(file_url_path(trimmed))),
        _ if is_base64_image(trimmed) => Ok(ImageSource::Inline { mime: String::new(), base64: trimmed }),
        _ => Ok(ImageSource::File(trimmed.to_owned())),
    }
}

fn data_uri(uri: &str) -> Result<ImageSource<&str>, Finding> {
    let bad = |message: &str| {
        Finding::new(&IMAGE_BAD_DATA_URI, "", message).hint("the form is `data:image/png;base64,iVBORw0…`")
    };
    let (header, payload) =
        uri["data:".len()..].split_once(',').ok_or_else(|| bad("the data URI has no comma"))?;
    let Some(mime) = header.strip_suffix(";base64") else {
        return Err(bad("the data URI is not marked `;base64`"));
    };
    if payload.is_empty() {
        return Err(bad("the data URI is empty"));
    }
    Ok(ImageSource::Inline { mime: mime.to_ascii_lowercase(), base64: payload })
}

/// The path of a `file:` URL: host dropped, percent escapes decoded (RFC 8089).
fn file_url_path(url: &str) -> String {
    let rest = &url["file:".len()..];
    let path = match rest.strip_prefix("//") {
        Some(after) => after.find('/').map_or(after, |slash| &after[slash..]),
        None => rest,
    };
    percent_decode(path)
}

/// A text with its percent escapes decoded; as it is where that gives no UTF-8.
pub fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
