//! Arrow IPC: the streams that `datasets` saves, and Feather files, which hold a stream between two marks. The file is mapped
//! into memory, so that a batch of images takes none until its rows are read.

use std::io::Read as _;
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block, Endianness, Message, MessageHeader, root_as_message};
use arrow_schema::Schema;
use bytes::Bytes;

use super::super::positioned::{AnyFile, ReadFrom};
use super::labels::Labels;
use super::{BatchIterator, Batches, Fault, Group};
use crate::remote::Object;

/// An open file: its schema and dictionaries, and where its record batches are.
pub(super) struct ArrowFile {
    content: Content,
    schema: Arc<Schema>,
    decoder: Arc<FileDecoder>,
    blocks: Vec<Block>,
    groups: Vec<Group>,
    labels: Labels,
}

/// The mark at both ends of a file; at the beginning two bytes of padding follow.
const MARK: &[u8] = b"ARROW1";

/// Walks through the messages of a file without reading the values.
pub(super) fn open(file: AnyFile) -> Result<ArrowFile, Fault> {
    if file.length()? == 0 {
        return Err("the file is empty".into());
    }
    let content = Content::of(file)?;
    let mark = MARK.len() as u64;
    let has_mark =
        |at: u64| Ok::<_, Fault>(at + mark <= content.length() && *content.range(at, mark)? == *MARK);
    let is_marked = has_mark(0)?;
    if is_marked && !has_mark(content.length() - mark)? {
        return Err("the mark at the end is missing; the file is truncated".into());
    }
    let mut at = if is_marked { 8 } else { 0 };
    let (schema, after) = schema(&content, at)?;
    at = after;
    let mut decoder = FileDecoder::new(Arc::clone(&schema.0), schema.1);
    let (mut blocks, mut groups) = (Vec::new(), Vec::new());
    let mut first = 0;
    while let Some((header, block)) = message_at(&content, at)? {
        let message = header.message()?;
        match message.header_type() {
            MessageHeader::DictionaryBatch if blocks.is_empty() => {
                decoder.read_dictionary(&block, &slice(&content, &block)?)?;
            }
            MessageHeader::DictionaryBatch => {
                return Err("a dictionary changes between batches, which is not supported".into());
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or("a batch has no header")?;
                let rows = u64::try_from(batch.length()).map_err(|_| "a batch has a negative length")?;
                groups.push(Group { first, rows, bytes: length(&block)? as u64 });
                blocks.push(block);
                first += rows;
            }
            other => return Err(format!("unexpected message {other:?}").into()),
        }
        at += length(&block)?;
    }
    let labels = Labels::of(schema.0.metadata());
    Ok(ArrowFile { content, schema: schema.0, labels, decoder: Arc::new(decoder), blocks, groups })
}

/// The schema of a file and the version of its messages, and where the next message is.
type Versioned = (Arc<Schema>, arrow_ipc::MetadataVersion);

fn schema(content: &Content, at: usize) -> Result<(Versioned, usize), Fault> {
    let Some((header, block)) = message_at(content, at)? else { return Err("there is no schema".into()) };
    let message = header.message()?;
    let schema = message.header_as_schema().ok_or("the file does not start with a schema")?;
    if schema.endianness() != Endianness::Little {
        return Err("the values are big-endian, which is not supported".into());
    }
    let parsed = Arc::new(try_fb_to_schema(schema)?);
    Ok(((parsed, message.version()), at + length(&block)?))
}

/// The message at a position, and where it is; `None` at the end of the stream.
fn message_at(content: &Content, at: usize) -> Result<Option<(Header, Block)>, Fault> {
    let truncated = "the file ends within the stream; it is truncated";
    let range = |at: usize, length: usize| {
        let within = at.checked_add(length).is_some_and(|end| end as u64 <= content.length());
        if within { content.range(at as u64, length as u64) } else { Err(truncated.into()) }
    };
    let word = |at: usize| {
        let bytes = range(at, 4)?;
        Ok::<_, Fault>(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    // Before version 0.15 there was no mark before the length.
    let (prefix, length) = match word(at)? {
        u32::MAX => (8, word(at + 4)?),
        length => (4, length),
    };
    if length == 0 {
        return Ok(None);
    }
    let header = Header(range(at + prefix, length as usize)?);
    let body = header.message()?.bodyLength();
    let block = Block::new(i64::try_from(at)?, i32::try_from(prefix + length as usize)?, body);
    let end = usize::try_from(body)?.checked_add(at + prefix + length as usize);
    if end.is_none_or(|end| end as u64 > content.length()) {
        return Err(truncated.into());
    }
    Ok(Some((header, block)))
}

/// The description of a message.
struct Header(Buffer);

impl Header {
    fn message(&self) -> Result<Message<'_>, Fault> {
        root_as_message(&self.0).map_err(|error| error.to_string().into())
    }
}

/// The bytes of a file, mapped into memory, or those of an object, which are requested.
enum Content {
    Mapped(Buffer),
    Object(Arc<Object>),
}

/// Ranges of an object that come from the windows that are kept in memory. Larger ones have a request of their own.
const SMALL: u64 = 1 << 20;

impl Content {
    fn of(file: AnyFile) -> Result<Content, Fault> {
        match file {
            AnyFile::Local(file) => {
                // SAFETY: the mapping is only read. Another process that writes to the file meanwhile can change the values, all of
                // which are checked where they are used.
                let map = unsafe { memmap2::Mmap::map(&file) }?;
                Ok(Content::Mapped(Buffer::from(Bytes::from_owner(map))))
            }
            AnyFile::Object(object) => {
                object.require_ranges("an Arrow file")?;
                Ok(Content::Object(object))
            }
        }
    }

    fn length(&self) -> u64 {
        match self {
            Content::Mapped(buffer) => buffer.len() as u64,
            Content::Object(object) => object.length(),
        }
    }

    /// A range that lies within the file.
    fn range(&self, at: u64, length: u64) -> Result<Buffer, Fault> {
        match self {
            Content::Mapped(buffer) => {
                Ok(buffer.slice_with_length(usize::try_from(at)?, usize::try_from(length)?))
            }
            Content::Object(object) if length > SMALL => Ok(Buffer::from(object.range(at..at + length)?)),
            Content::Object(object) => {
                let mut bytes = Vec::new();
                let file = AnyFile::Object(Arc::clone(object));
                ReadFrom { file: &file, at }.take(length).read_to_end(&mut bytes)?;
                Ok(Buffer::from(bytes))
            }
        }
    }
}

/// Bytes of a message and its body.
fn length(block: &Block) -> Result<usize, Fault> {
    let length = i64::from(block.metaDataLength()).checked_add(block.bodyLength());
    Ok(usize::try_from(length.ok_or("a message is too long")?)?)
}

fn slice(content: &Content, block: &Block) -> Result<Buffer, Fault> {
    content.range(u64::try_from(block.offset())?, length(block)? as u64)
}

impl Batches for ArrowFile {
    fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn read(&self, group: usize) -> Result<BatchIterator, Fault> {
        let block = self.blocks[group];
        let bytes = slice(&self.content, &block)?;
        let batch = self.decoder.read_record_batch(&block, &bytes);
        let batch = batch.map_err(|error| format!("batch {group}: {error}"))?;
        Ok(Box::new(batch.into_iter().map(Ok)))
    }
}
