//! The same rows in every format that `prepare` reads, written by the libraries that people use.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Case, Run, root};

fn fixtures() -> PathBuf {
    root().join("fixtures/formats")
}

fn prepare(case: &Case, input: &str, more: &[&str]) -> Run {
    let input = fixtures().join(input).display().to_string();
    let args = ["prepare", &input, "--out", "out", "--validation", "0", "--force", "--quiet"];
    case.run(&[&args[..], more].concat())
}

#[test]
fn every_format_gives_the_training_file_of_plain_rows() {
    let case = Case::new();
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains('-'))
        .collect();
    names.sort();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        prepare(&case, &format!("{}.jsonl", name.split('-').next().unwrap()), &[]).ends(0);
        let expected = case.read("out/train.jsonl");
        let run = prepare(&case, &name, &[]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}");
        assert!(case.read("out/train.jsonl") == expected, "{name}:\n{}", case.read("out/train.jsonl"));
    }
}

#[test]
fn output_does_not_depend_on_threads() {
    let case = Case::new();
    for input in
        ["flat-zstd.parquet", "flat-saved", "flat-table.csv.gz", "flat-json.tar.gz", "flat-folder.zip"]
    {
        prepare(&case, input, &["--threads", "1"]).ends(0);
        let one = case.output();
        prepare(&case, input, &["--threads", "5"]).ends(0);
        assert!(case.output() == one, "{input}");
    }
}

#[test]
fn duplicates_are_reread_from_every_format() {
    for name in [
        "flat-zstd.parquet",
        "flat-saved",
        "flat-lines.jsonl.gz",
        "flat-table.tsv.zst",
        "flat-json.tar",
        "flat-json.tar.zst",
        "flat-folder.zip",
        "flat-pandas.xlsx",
    ] {
        let case = Case::new();
        let copy = |to: &str| {
            let from = fixtures().join(name).display().to_string();
            case.shell(&format!(
                "cp -r '{from}' '{to}' && cp -r '{}' .",
                fixtures().join("images").display()
            ))
            .ends(0);
        };
        copy(name);
        copy(&format!("again-{name}"));
        let args = ["prepare", name, &format!("again-{name}"), "--out", "out", "--validation", "0"];
        case.run(&args).ends(0).prints("the same images and text as");
        assert_eq!(case.rejected(), ["duplicate"; 5], "{name}");
        let rejected = case.read("out/rejected.jsonl");
        assert!(rejected.contains("\"prompt\"") && !rejected.contains("\\u0000"), "{name}: {rejected}");
    }
}

#[test]
fn interrupted_run_goes_on_with_the_same_bytes() {
    let case = Case::new();
    prepare(&case, "flat-datasets.parquet", &[]).ends(0);
    let whole = case.output();
    let input = fixtures().join("flat-datasets.parquet").display().to_string();
    case.shell("mv out whole").ends(0);
    let args = ["prepare", &input, "--out", "out", "--validation", "0", "--quiet"];
    case.run(&[&args[..], &["--max-reject", "0", "--columns", "completion=missing"]].concat()).ends(2);
    case.run(&[&args[..], &["--resume"]].concat()).ends(0);
    assert!(case.output() == whole);
}

#[test]
fn damaged_binary_files_are_errors_that_name_them() {
    let case = Case::new();
    for name in [
        "flat-snappy.parquet",
        "flat-lz4.feather",
        "flat-datasets.parquet",
        "flat-json.tar",
        "flat-folder.zip",
        "flat-pandas.xlsx",
    ] {
        let bytes = fs::read(fixtures().join(name)).unwrap();
        // Zeros behind the end mark of a tar archive are padding.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for length in [0, 3, 8, bytes.len() / 2, end] {
            case.write(name, &bytes[..length]);
            let run = case.run(&["prepare", name, "--out", "out", "--force"]);
            assert_eq!(run.code, 2, "{name} of {length} bytes: {}", run.stderr);
            run.prints(name).prints("hint: ");
        }
        for at in (4..bytes.len()).step_by(bytes.len() / 60) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            case.write(name, &damaged);
            let run = case.run(&["prepare", name, "--out", "out", "--force", "--threads", "1"]);
            assert!(
                (0..=2).contains(&run.code) && !run.stderr.contains("bug"),
                "{name} at {at}: {}",
                run.stderr
            );
        }
    }
}

#[test]
fn bytes_in_the_place_of_a_text_reject_the_row() {
    let case = Case::new();
    let columns = "image=image,prompt=prompt,completion=image";
    prepare(&case, "flat-binary.parquet", &["--columns", columns, "--remove-columns", "completion"]).ends(1);
    let columns = "prompt=image,completion=completion,image=id";
    prepare(&case, "flat-binary.parquet", &["--columns", columns, "--remove-columns", "prompt"]).ends(1);
    assert_eq!(case.rejected(), ["wrong-type"; 5]);
}

#[test]
fn ranges_of_shards_and_directories_are_expanded() {
    let case = Case::new();
    let rows = |count: usize| format!("{{\"prompt\": \"q{count}\", \"completion\": \"a\"}}\n");
    for shard in 8..=10 {
        case.write(&format!("rows-{shard:03}.jsonl"), rows(shard));
    }
    let args = ["prepare", "rows-{008..010}.jsonl", "--out", "out", "--validation", "0", "--quiet"];
    case.run(&args).ends(0);
    assert_eq!(case.lines("out/train.jsonl").len(), 3);
    case.run(&["prepare", "rows-{008..011}.jsonl", "--out", "no"]).ends(2).prints("rows-011.jsonl");
    let parquet = fs::read(fixtures().join("flat-snappy.parquet")).unwrap();
    case.write("hub/data/train-00000-of-00001.parquet", parquet);
    case.run(&["prepare", "hub", "--out", "hub-out", "--validation", "0", "--quiet"]).ends(0);
    assert_eq!(case.lines("hub-out/train.jsonl").len(), 5);
}

#[test]
fn other_commands_read_compressed_lines_and_name_prepare_for_tables() {
    let case = Case::new();
    prepare(&case, "messages.jsonl", &[]).ends(0);
    case.shell("gzip -k out/train.jsonl && cat out/train.jsonl.gz | gunzip > plain.jsonl").ends(0);
    for command in ["check", "tokens"] {
        let plain = case.run(&[command, "plain.jsonl"]).stdout;
        let packed = case.run(&[command, "out/train.jsonl.gz"]).stdout;
        assert_eq!(packed.replace("out/train.jsonl.gz", "plain.jsonl"), plain, "{command}");
    }
    for command in ["stats", "plan"] {
        case.run(&[command, "out/train.jsonl.gz"]).ends(2).prints("gzip-compressed").prints("gunzip");
    }
    for (name, what) in [
        ("flat-snappy.parquet", "a Parquet file"),
        ("flat-lz4.feather", "an Arrow file"),
        ("flat-json.tar", "an archive"),
    ] {
        let path = fixtures().join(name).display().to_string();
        for command in ["check", "tokens", "stats", "plan"] {
            case.run(&[command, &path]).ends(2).prints(what).prints("pixtune prepare FILE --out DIR");
        }
    }
}

/// An archive that Python writes with this code, which has `add(name, data)`.
fn archive(case: &Case, name: &str, code: &str) {
    let prelude = match name.ends_with(".zip") {
        true => format!(
            "import zipfile\nwith zipfile.ZipFile({name:?}, 'w', zipfile.ZIP_DEFLATED) as archive:\n  def add(name, data=b'', **more):\n    archive.writestr(name, data)\n"
        ),
        false => format!(
            "import io, tarfile\nwith tarfile.open({name:?}, 'w:gz' if {name:?}.endswith('gz') else 'w') as archive:\n  def add(name, data=b'', **more):\n    info = tarfile.TarInfo(name)\n    info.size = len(data)\n    for key, value in more.items(): setattr(info, key, value)\n    archive.addfile(info, io.BytesIO(data))\n"
        ),
    };
    case.write(
        "make.py",
        format!("{prelude}  png = open('a.png', 'rb').read()\n  {}\n", code.replace('\n', "\n  ")),
    );
    case.shell("python3 -W ignore make.py").ends(0);
}

#[test]
fn members_that_cannot_be_used_reject_their_row_alone() {
    let case = Case::table("");
    let good = "add('good.png', png)\nadd('good.txt', b'a')\n";
    for (code, why) in [
        ("add('k.png', png)\nadd('k.png', png)\nadd('k.txt', b'a')", "two members `k.png`"),
        ("add('k.png', type=tarfile.SYMTYPE, linkname='/etc/passwd')\nadd('k.txt', b'a')", "a symbolic link"),
        ("add('k.png', type=tarfile.CHRTYPE)\nadd('k.txt', b'a')", "a device"),
        ("add('k.png', png + bytes(3 << 20))\nadd('k.txt', b'a')", "more than the limit"),
        ("add('k.json', b'{')\nadd('k.png', png)", "not JSON"),
        ("add('README', b'x')", "no extension"),
        (
            "add('k.txt', b'a')\nadd('z.png', png)\nadd('z.txt', b'b')\nadd('k.png', png)",
            "not next to each other",
        ),
    ] {
        archive(&case, "shard.tar", &format!("{good}{code}"));
        let args = ["prepare", "shard.tar", "--out", "out", "--validation", "0", "--force", "--dedup", "off"];
        let run = case.run(
            &[&args[..], &["--columns", "image=image,completion=text", "--max-row-bytes", "1MB"]].concat(),
        );
        run.ends(1).prints(why);
        let train = case.read("out/train.jsonl");
        assert!(train.contains("\"a\"") && !train.contains("root:"), "{why}: {train}");
    }
}

#[test]
fn images_of_a_table_are_looked_for_in_its_archive_alone() {
    for name in ["folder.zip", "folder.tar"] {
        let case = Case::table("");
        archive(
            &case,
            name,
            "add('d/metadata.csv', b'file_name,prompt,completion\\nx.png,p,a\\n../a.png,p,b\\n../../a.png,p,c\\n/etc/passwd,p,d\\ntwice.png,p,e\\na.png,p,f\\n')\nadd('d/x.png', png)\nadd('d/twice.png', png)\nadd('d/twice.png', png)\nadd('../../a.png', png)",
        );
        let run = case.run(&["prepare", name, "--out", "out", "--validation", "0"]).ends(1);
        run.prints(&format!("{name}/d/metadata.csv:3")).prints("is in the archive twice");
        assert_eq!(case.lines("out/train.jsonl").len(), 1, "{name}");
        let rules = ["image-missing", "image-missing", "image-missing", "image-unreadable", "image-missing"];
        assert_eq!(case.rejected(), rules, "{name}");
        // A directory of images applies to archives too.
        case.write("rows/a.png", fs::read(case.path("a.png")).unwrap());
        let args =
            ["prepare", name, "--out", "out", "--force", "--image-folder", "rows", "--validation", "0"];
        case.run(&args).ends(1);
        assert!(case.read("out/train.jsonl").contains("\"f\""), "{name}");
    }
}

#[test]
fn archives_that_cannot_be_read_name_the_way_out() {
    let case = Case::table("");
    archive(&case, "plain.zip", "add('a.png', png)");
    case.run(&["prepare", "plain.zip", "--out", "out"])
        .ends(2)
        .prints("has no CSV, TSV or JSON Lines file in it");
    let parquet = fs::read(fixtures().join("flat-snappy.parquet")).unwrap();
    case.write("inner.parquet", parquet);
    for name in ["columns.zip", "columns.tar"] {
        archive(&case, name, "add('data/train.parquet', open('inner.parquet', 'rb').read())");
        case.run(&["prepare", name, "--out", "out"])
            .ends(2)
            .prints("holds `data/train.parquet`; Parquet and Arrow files inside of archives are not read")
            .prints("unpack the archive");
    }
    case.shell("gzip -k inner.parquet").ends(0);
    case.run(&["prepare", "inner.parquet.gz", "--out", "out"]).ends(2).prints("gunzip -k");
    archive(&case, "book.xlsx.zip", "add('xl/workbook.xml', b'')");
    case.run(&["prepare", "book.xlsx.zip", "--out", "out"]).ends(2).prints("has no sheet with rows");
    archive(&case, "table.tar.gz", "add('images/a.png', png)\nadd('metadata.csv', b'file_name,text\\n')");
    case.run(&["prepare", "table.tar.gz", "--out", "out"])
        .ends(2)
        .prints("metadata.csv")
        .prints("pack a ZIP archive");
    archive(
        &case,
        "bomb.zip",
        "add('metadata.csv', b'file_name,text\\nb.png,x\\n')\nadd('b.png', png + bytes(200 << 20))",
    );
    case.run(&["prepare", "bomb.zip", "--out", "out"]).ends(1).prints("image-too-large");
}

/// A workbook with sheets `Data`, hidden `Notes`, and `Images`, which has an image over its cells. `rows` is the XML of `Data`.
fn book(case: &Case, rows: &str) {
    let code = r#"import json
kind = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
sheets = [('Notes', ' state="hidden"'), ('Data', ''), ('Images', '')]
tags = ''.join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"{more}/>' for n, (name, more) in enumerate(sheets))
add('xl/workbook.xml', f'<workbook xmlns:r="{kind}"><sheets>{tags}</sheets></workbook>')
links = lambda *links: '<Relationships>' + ''.join(f'<Relationship Id="rId{n}" Type="{kind}/{what}" Target="{to}"/>' for n, (what, to) in enumerate(links)) + '</Relationships>'
add('xl/_rels/workbook.xml.rels', links(*[('worksheet', f'worksheets/sheet{n}.xml') for n in range(3)]))
wrap = lambda rows: f'<worksheet><sheetData>{rows}</sheetData></worksheet>'
add('xl/worksheets/sheet0.xml', wrap(''))
add('xl/worksheets/sheet1.xml', wrap(ROWS))
add('xl/worksheets/sheet2.xml', wrap(''))
add('xl/worksheets/_rels/sheet2.xml.rels', links(('drawing', '../drawings/drawing1.xml')))
add('xl/drawings/_rels/drawing1.xml.rels', links(('image', '../media/image1.png')))"#;
    archive(case, "book.zip", &code.replace("ROWS", &format!("{rows:?}")));
    fs::rename(case.path("book.zip"), case.path("book.xlsx")).unwrap();
}

fn sheet_row(cells: &[&str]) -> String {
    let cell = |text: &&str| match text.strip_prefix('<') {
        Some(_) => (*text).to_owned(),
        None => format!("<c t='inlineStr'><is><t>{text}</t></is></c>"),
    };
    format!("<row>{}</row>", cells.iter().map(cell).collect::<String>())
}

#[test]
fn a_workbook_is_read_sheet_by_sheet() {
    let case = Case::table("");
    let rows = [
        sheet_row(&["image", "prompt", "completion"]),
        sheet_row(&["a.png", "how many?", "<c><v>3</v></c>"]),
        "<row r='7'><c r='A7' t='inlineStr'><is><t>b.jpg</t></is></c><c r='B7'><f>A1</f><v/></c></row>"
            .to_owned(),
        sheet_row(&["c.png", "is it?", "<c t='b'><v>1</v></c>"]),
    ];
    book(&case, &rows.concat());
    let args = ["prepare", "book.xlsx", "--out", "out", "--validation", "0", "--force"];
    let run = case.run(&args).ends(1);
    run.prints(
        "book.xlsx: only the sheet `Data` of `Notes`, `Data`, `Images` is read (set it with `--sheet`)",
    )
    .prints("error[row-unreadable]: book.xlsx:7: cell B7 holds a formula without its value");
    let train = case.read("out/train.jsonl");
    assert!(train.contains("\"3\"") && train.lines().count() == 1, "{train}");
    assert_eq!(case.rejected(), ["row-unreadable", "wrong-type"], "a logical value is not a text");
    let named = |name: &str| case.run(&[&args[..], &["--sheet", name]].concat());
    named("Data").ends(1);
    named("Notes").ends(2).prints("`book.xlsx` is empty");
    named("data")
        .ends(2)
        .prints("`book.xlsx` has no sheet `data` with rows; its sheets: `Notes`, `Data`, `Images`");
    named("Images").ends(2).prints("has 1 image in the sheet `Images`").prints("save the images as files");
    case.run(&["prepare", "data.csv", "--out", "out", "--force", "--sheet", "Data"])
        .ends(2)
        .prints("is not a workbook");
}

#[test]
fn files_that_are_not_text_are_named() {
    let case = Case::table("");
    let noise: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let file = |name: &str, start: &[u8]| case.write(name, [start, &noise].concat());
    file("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    file("rows.csv.xz", b"\xfd7zXZ\0");
    file("rows.db", b"SQLite format 3\0");
    file("noise.csv", b"\xe9");
    archive(&case, "sheet.zip", "add('mimetype', b'')\nadd('content.xml', b'')");
    for (name, what) in [
        ("a.png", "an image"),
        ("b.jpg", "an image"),
        ("old.xls", "old Office versions"),
        ("rows.csv.xz", "xz-compressed"),
        ("rows.db", "a SQLite database"),
        ("noise.csv", "binary data"),
        ("sheet.zip", "an OpenDocument file"),
    ] {
        case.run(&["prepare", name, "--out", "out"]).ends(2).prints(&format!("`{name}` is ")).prints(what);
    }
}
