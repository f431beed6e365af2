//! Values of Arrow arrays as JSON, as the libraries that write them export rows to JSON Lines.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, OffsetSizeTrait, StructArray};
use arrow_schema::{DataType, TimeUnit};
use pixtune_core::json::Value;

use super::super::RowImage;
use super::number::float;

/// The value of an array at an index. Bytes are added to `images`, and the value is the reference to them.
pub(super) fn value(array: &dyn Array, at: usize, images: &mut Vec<RowImage>) -> Value<'static> {
    if array.is_null(at) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(at)),
        DataType::Utf8 => string(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => string(array.as_string::<i64>().value(at)),
        DataType::Utf8View => string(array.as_string_view().value(at)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(at), images),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(at), images),
        DataType::BinaryView => bytes(array.as_binary_view().value(at), images),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(at), images),
        DataType::List(_) => list::<i32>(array, at, images),
        DataType::LargeList(_) => list::<i64>(array, at, images),
        DataType::FixedSizeList(..) => elements(&*array.as_fixed_size_list().value(at), images),
        DataType::Struct(_) => structure(array.as_struct(), at, images),
        DataType::Map(..) => map(&array.as_map().value(at), images),
        DataType::Dictionary(key, _) => dictionary(array, key, at, images),
        _ => scalar(array, at),
    }
}

fn string(text: &str) -> Value<'static> {
    Value::String(Cow::Owned(text.to_owned()))
}

fn number(text: impl ToString) -> Value<'static> {
    Value::Number(Cow::Owned(text.to_string()))
}

fn bytes(bytes: &[u8], images: &mut Vec<RowImage>) -> Value<'static> {
    let image = RowImage::unnamed(bytes);
    let reference = string(&image.name);
    images.push(image);
    reference
}

fn list<O: OffsetSizeTrait>(array: &dyn Array, at: usize, images: &mut Vec<RowImage>) -> Value<'static> {
    elements(&*array.as_list::<O>().value(at), images)
}

fn elements(array: &dyn Array, images: &mut Vec<RowImage>) -> Value<'static> {
    Value::Array((0..array.len()).map(|at| value(array, at, images)).collect())
}

/// A struct without its null fields: all rows of a column share one struct, so most of them are keys of other rows.
fn structure(array: &StructArray, at: usize, images: &mut Vec<RowImage>) -> Value<'static> {
    if let Some(image) = image(array, at, images) {
        return image;
    }
    let fields = array.fields().iter().zip(array.columns());
    let members = fields.filter(|(_, column)| !column.is_null(at));
    Value::Object(
        members
            .map(|(field, column)| (Cow::Owned(field.name().clone()), value(column, at, images)))
            .collect(),
    )
}

/// The image of a struct in the form of the `Image` columns of `datasets`: bytes, or else a path.
fn image(array: &StructArray, at: usize, images: &mut Vec<RowImage>) -> Option<Value<'static>> {
    if array.num_columns() != 2 {
        return None;
    }
    let (content, path) = (array.column_by_name("bytes")?, array.column_by_name("path")?);
    let is_binary =
        matches!(content.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let is_null = matches!(content.data_type(), DataType::Null);
    (is_binary || is_null).then(|| value(if content.is_null(at) { path } else { content }, at, images))
}

fn map(entries: &StructArray, images: &mut Vec<RowImage>) -> Value<'static> {
    let (keys, values) = (entries.column(0), entries.column(1));
    let key = |at| match value(keys, at, &mut Vec::new()) {
        Value::String(text) => text,
        other => Cow::Owned(other.to_string()),
    };
    Value::Object((0..entries.len()).map(|at| (key(at), value(values, at, images))).collect())
}

fn dictionary(array: &dyn Array, key: &DataType, at: usize, images: &mut Vec<RowImage>) -> Value<'static> {
    match key {
        DataType::Int8 => entry::<Int8Type>(array, at, images),
        DataType::Int16 => entry::<Int16Type>(array, at, images),
        DataType::Int32 => entry::<Int32Type>(array, at, images),
        DataType::Int64 => entry::<Int64Type>(array, at, images),
        DataType::UInt8 => entry::<UInt8Type>(array, at, images),
        DataType::UInt16 => entry::<UInt16Type>(array, at, images),
        DataType::UInt32 => entry::<UInt32Type>(array, at, images),
        _ => entry::<UInt64Type>(array, at, images),
    }
}

fn entry<K: ArrowDictionaryKeyType>(
    array: &dyn Array,
    at: usize,
    images: &mut Vec<RowImage>,
) -> Value<'static> {
    let dictionary = array.as_dictionary::<K>();
    dictionary.key(at).map_or(Value::Null, |key| value(dictionary.values(), key, images))
}

/// A number, or a time as ISO 8601 text. A value of a type that has no JSON form is an object, which is rejected wherever a
/// sample needs a text or an image.
fn scalar(array: &dyn Array, at: usize) -> Value<'static> {
    macro_rules! number {
        ($type:ty) => {
            number(array.as_primitive::<$type>().value(at))
        };
    }
    match array.data_type() {
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(at);
            float(value.to_f64(), f32::from(value))
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(at);
            float(f64::from(value), value)
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(at);
            float(value, value)
        }
        DataType::Decimal128(..) => number(array.as_primitive::<Decimal128Type>().value_as_string(at)),
        DataType::Decimal256(..) => number(array.as_primitive::<Decimal256Type>().value_as_string(at)),
        other => {
            time(array, other, at).map_or_else(|| unsupported(other), |time| Value::String(Cow::Owned(time)))
        }
    }
}

/// A date or time; a timestamp with a time zone is in UTC.
fn time(array: &dyn Array, data_type: &DataType, at: usize) -> Option<String> {
    macro_rules! iso {
        ($type:ty, $method:ident) => {
            array.as_primitive::<$type>().$method(at).map(|time| format!("{time:?}"))?
        };
    }
    Some(match data_type {
        DataType::Date32 => iso!(Date32Type, value_as_date),
        DataType::Date64 => iso!(Date64Type, value_as_date),
        DataType::Time32(TimeUnit::Second) => iso!(Time32SecondType, value_as_time),
        DataType::Time32(TimeUnit::Millisecond) => iso!(Time32MillisecondType, value_as_time),
        DataType::Time64(TimeUnit::Microsecond) => iso!(Time64MicrosecondType, value_as_time),
        DataType::Time64(TimeUnit::Nanosecond) => iso!(Time64NanosecondType, value_as_time),
        DataType::Timestamp(unit, zone) => {
            let time = match unit {
                TimeUnit::Second => iso!(TimestampSecondType, value_as_datetime),
                TimeUnit::Millisecond => iso!(TimestampMillisecondType, value_as_datetime),
                TimeUnit::Microsecond => iso!(TimestampMicrosecondType, value_as_datetime),
                TimeUnit::Nanosecond => iso!(TimestampNanosecondType, value_as_datetime),
            };
            if zone.is_some() { time + "Z" } else { time }
        }
        _ => return None,
    })
}

fn unsupported(data_type: &DataType) -> Value<'static> {
    Value::Object(vec![(Cow::Borrowed("unsupported Arrow type"), string(&data_type.to_string()))])
}
