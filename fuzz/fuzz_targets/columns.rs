//! Column and split arguments, and a row read with them: chosen columns exist and are used once, fractions stay within 0 and
//! 1, and every image of a valid row has a position.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::columns::{ColumnChoice, Columns, ImagePosition, Role, RowOptions, read_row};
use pixtune_core::curate::{Validation, parse_size};
use pixtune_core::diagnostic::Severity;
use pixtune_core::json::Value;
use pixtune_fuzz::placed;

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (typed, header, row, share) = input;
    match share.parse() {
        Ok(Validation::Fraction(fraction)) => assert!((0.0..1.0).contains(&fraction)),
        Ok(parsed) => assert_eq!(parsed.to_string().parse(), Ok(parsed)),
        Err(error) => assert!(error.to_string().contains(share)),
    }
    if let Some(size) = parse_size(share).filter(|size| *size < 1 << 53) {
        assert_eq!(parse_size(&format!("{size}B")), Some(size));
    }
    let Ok(choice) = ColumnChoice::parse(typed) else { return };
    let names: Vec<String> = header.split(',').map(str::to_owned).collect();
    let cells = row.split(',').map(|cell| Value::String(cell.into()));
    let row = Value::Object(names.iter().map(|name| name.as_str().into()).zip(cells).collect());
    let Ok(columns) = Columns::resolve(&names, &choice, std::slice::from_ref(&row)) else { return };
    for role in Role::NAMED {
        assert!(choice.named(role).all(|column| names.iter().any(|name| name == column)));
    }
    assert!(columns.image.iter().all(|column| names.contains(column)));
    assert!(names.contains(&columns.completion));
    for column in &columns.unused {
        assert!(names.contains(column) && !columns.image.contains(column) && *column != columns.completion);
    }
    for position in [ImagePosition::First, ImagePosition::Last] {
        let options = RowOptions { position, ..RowOptions::default() };
        let (sample, findings) = read_row(&columns, options, &row);
        if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
            assert_eq!(placed(&sample), (0..sample.images.len()).collect::<Vec<_>>());
        }
    }
});
