//! Archives: members lie within the archive and in order, a walk from a member on finds the same members, and data that is read
//! has the size and checksum that are declared.
#![no_main]
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pixtune_io::read::archive::tar::{Member, Walk};
use pixtune_io::read::archive::zip;

fn walk(mut walk: Walk<&[u8]>, length: u64) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    while let Ok(Some(member)) = walk.next_member() {
        assert!(members.last().is_none_or(|before| before.end() <= member.start));
        assert!(member.start < member.data && member.data <= length);
        members.push(member);
    }
    members
}

fuzz_target!(|data: &[u8]| {
    let length = data.len() as u64;
    let members = walk(Walk::new(data), length);
    if let Some(second) = members.get(1).filter(|_| members.iter().all(|member| member.end() <= length)) {
        let end = members.last().map_or(0, Member::end);
        let rest = &data[second.start as usize..end as usize];
        assert_eq!(walk(Walk::between(rest, second.start, end), length), members[1..]);
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(data).expect("a written file");
    let file: Arc<File> = Arc::new(file);
    for entry in zip::entries(&file, length).unwrap_or_default() {
        let mut bytes = Vec::new();
        let Ok(stream) = entry.open(&file) else { continue };
        if stream.take(1 << 20).read_to_end(&mut bytes).is_ok() && entry.size < 1 << 20 {
            assert_eq!(bytes.len() as u64, entry.size);
        }
    }
});
