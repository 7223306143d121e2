//! The table's bytes: those of the source, and nothing else.

use slotguard::recipe::assignment::{Error, Finding, MAGIC, Table, TableError};
use slotguard::recipe::{self, Kind};

/// What Go's encoding/json writes for a table of three nodes, one of them with a name that it escapes.
const JSON: &str = r#"{"magic":[83,66,68,78,77,65,80,49],"version":7,"cluster_name":"test-cluster","entries":{"a\u003cb\u003e\u0026\"c\\\tü\u2028":{"node_name":"a\u003cb\u003e\u0026\"c\\\tü\u2028","node_id":9,"hash":5,"timestamp":"2025-06-22T10:21:00Z","last_seen":"2025-06-22T10:21:00Z"},"node-1":{"node_name":"node-1","node_id":28,"hash":1287154153,"timestamp":"2025-06-22T10:21:00Z","last_seen":"2025-06-22T10:20:30.123456789Z","cluster_name":"test-cluster"},"node-2":{"node_name":"node-2","node_id":177,"hash":160489732,"timestamp":"2025-06-22T10:20:30.123456789Z","last_seen":"2025-06-22T10:20:30.5+02:00","cluster_name":"test-cluster"}},"node_usage":{"177":"node-2","28":"node-1","9":"a\u003cb\u003e\u0026\"c\\\tü\u2028"},"last_update":"2025-06-22T10:20:30.5+02:00"}"#;
/// And the checksum Go's hash/crc32 gives it, little end first.
const SUM: [u8; 4] = [0x61, 0x51, 0x61, 0x47];
const CLUSTER: &str = "test-cluster";

fn golden() -> Vec<u8> {
    [&SUM, JSON.as_bytes()].concat()
}

/// A table with a right checksum, whatever its JSON says.
fn with_sum(json: &str) -> Vec<u8> {
    [&crc32fast::hash(json.as_bytes()).to_le_bytes(), json.as_bytes()].concat()
}

#[track_caller]
fn refused(bytes: &[u8]) -> TableError {
    Table::unmarshal(bytes, CLUSTER).expect_err("it is no table of ours")
}

#[test]
fn a1_the_bytes_are_those_of_the_source() {
    let bytes = golden();
    let table = Table::unmarshal(&bytes, CLUSTER).unwrap();
    assert_eq!(table.marshal(), bytes);
    assert_eq!((table.version, table.cluster.as_str(), table.entries.len()), (7, CLUSTER, 3));
    assert_eq!(table.usage[&9], "a<b>&\"c\\\tü\u{2028}");
    let entry = &table.entries["node-2"];
    assert_eq!((entry.slot, entry.hash, entry.last_seen.as_str()), (177, 0x0990_e104, "2025-06-22T10:20:30.5+02:00"));
    assert_eq!(table.integrity(), []);
}

#[test]
fn the_words_of_earlier_versions_are_kept() {
    let json = JSON.replace("node_id", "slot_id").replace("node_usage", "slot_usage");
    let bytes = with_sum(&json);
    let mut table = Table::unmarshal(&bytes, CLUSTER).unwrap();
    assert_eq!(table.usage[&28], "node-1");
    assert_eq!(table.marshal(), bytes);
    table.assign("node-3").unwrap();
    assert_eq!(Table::unmarshal(&table.marshal(), CLUSTER).unwrap(), table);
}

/// Source 1 wrote the checksum of the JSON and compared it with that of the JSON and the zeros up to the end of the slot, so
/// it could read nothing it had written: S1-1.
#[test]
fn zeros_up_to_the_end_of_a_slot_are_no_part_of_the_table() {
    let mut table = Table::new(CLUSTER);
    table.assign("node-1").unwrap();
    let mut slot = table.marshal();
    assert!(slot.len() < 512);
    slot.resize(512, 0);
    assert_eq!(Table::unmarshal(&slot, CLUSTER).unwrap(), table);
    assert_eq!(Table::unmarshal(&[golden(), vec![0; 4096]].concat(), CLUSTER).unwrap().marshal(), golden());
}

#[test]
fn d6_any_changed_byte_is_refused() {
    let padded = [golden(), vec![0; 50]].concat();
    for at in 0..padded.len() {
        for bit in 0..8 {
            let mut bytes = padded.clone();
            bytes[at] ^= 1 << bit;
            assert!(matches!(refused(&bytes), TableError::Checksum { .. }), "byte {at}, bit {bit}");
        }
        let mut bytes = padded.clone();
        bytes[at] = !bytes[at];
        assert!(matches!(refused(&bytes), TableError::Checksum { .. }), "byte {at}");
    }
}

#[test]
fn d6_a_table_cut_anywhere_is_refused() {
    let bytes = golden();
    for length in 0..bytes.len() {
        match refused(&bytes[..length]) {
            TableError::TooShort { length: told } => assert!(told == length && length < 4),
            TableError::Checksum { .. } => assert!(length >= 4),
            other => panic!("{length} bytes: {other}"),
        }
    }
}

#[test]
fn d6_each_thing_that_can_be_wrong_is_told_by_its_name() {
    assert!(matches!(refused(b"{}"), TableError::TooShort { length: 2 }));
    assert!(matches!(refused(&[0; 100]), TableError::Malformed { .. }), "zeros are their own checksum, and no table");
    assert!(matches!(refused(b"\0\0\0\0invalid json"), TableError::Checksum { .. }));
    assert!(matches!(refused(&with_sum("invalid json")), TableError::Malformed { .. }));
    let magic = format!("{MAGIC:?}").replace(' ', "");
    let other = JSON.replace(&magic, "[83,66,68,78,77,65,80,50]");
    assert!(matches!(refused(&with_sum(&other)), TableError::Magic { found } if found == "SBDNMAP2"));
    assert!(matches!(refused(&with_sum(&JSON.replace(&magic, "[]"))), TableError::Magic { .. }));
    assert!(matches!(refused(&with_sum(&JSON.replace("\"version\":7", "\"version\":0"))), TableError::Version));
    let error = Table::unmarshal(&golden(), "another").unwrap_err();
    assert!(matches!(&error, TableError::Cluster { expected, found } if expected == "another" && found == CLUSTER));
    assert!(error.to_string().contains("\"test-cluster\""), "{error}");
    for (right, wrong) in [
        ("\"28\":", "\"x\":"),
        ("\"28\":", "\"65536\":"),
        ("\"28\":", "\"0177\":"),
        ("\"node_id\":28,", ""),
        ("\"node_id\":28", "\"node_id\":-1"),
        ("\"node_id\":28", "\"node_id\":65536"),
        ("{\"node_name\":\"node-1\"", "{\"node_name\":\"node-9\""),
        ("\"last_update\":\"2025-06-22", "\"last_update\":\"2025-06-32"),
        ("\"timestamp\":\"2025", "\"timestamp\":\"x025"),
    ] {
        assert!(JSON.contains(right));
        let error = refused(&with_sum(&JSON.replacen(right, wrong, 1)));
        assert!(matches!(error, TableError::Malformed { .. }), "{wrong}: {error}");
    }
    // Of several faults the first is told: what cannot be read has no version, and no cluster.
    let several = JSON.replace(&magic, "[1]").replace("\"version\":7", "\"version\":0");
    assert!(matches!(Table::unmarshal(&with_sum(&several), "another"), Err(TableError::Magic { .. })));
}

#[test]
fn a_refused_table_keeps_its_kind_and_its_words_whichever_error_it_becomes() {
    let cluster = || Table::unmarshal(&golden(), "another").unwrap_err();
    let (recipe, own) = (recipe::Error::from(cluster()), Error::from(cluster()));
    assert_eq!([cluster().kind(), own.kind(), recipe.kind()], [Kind::Incompatible; 3]);
    assert_eq!([own.to_string(), recipe.to_string()], [(); 2].map(|()| cluster().to_string()));
    assert_eq!(refused(b"{}").kind(), Kind::Damaged);
}

#[test]
fn maps_that_are_not_there_are_empty_as_in_the_source() {
    let json = r#"{"magic":[83,66,68,78,77,65,80,49],"version":1,"cluster_name":"test-cluster","entries":null,"node_usage":null,"last_update":"2025-06-22T10:21:00Z"}"#;
    let table = Table::unmarshal(&with_sum(json), CLUSTER).unwrap();
    assert!(table.entries.is_empty() && table.usage.is_empty());
}

#[test]
fn a8_every_change_is_one_version() {
    let mut table = Table::new(CLUSTER);
    assert_eq!(table.version, 1);
    assert_eq!(table.assign("node-1").unwrap(), 28);
    assert_eq!(table.version, 2);
    // Nothing changes, so the version stays.
    assert_eq!((table.assign("node-1").unwrap(), table.version), (28, 2));
    assert_eq!((table.remove("node-1").unwrap(), table.version), (28, 3));
    assert!(matches!(table.remove("node-1"), Err(Error::UnknownNode { .. })));
    assert!(matches!(table.assign(""), Err(Error::EmptyNode)));
    assert_eq!(table.version, 3);
    table.version = u64::MAX - 1;
    assert_eq!(Table::unmarshal(&table.marshal(), CLUSTER).unwrap(), table);
}

/// Source 1 gave up after ten probes: S1-6.
#[test]
fn b3_a_table_has_room_for_all() {
    for cluster in 0..20 {
        let mut table = Table::new(&format!("cluster-{cluster}"));
        for n in 1..=255 {
            table.assign(&format!("node-{n}")).unwrap();
        }
        assert!(matches!(table.assign("one-more"), Err(Error::Full { slots: 255 })));
        assert_eq!((table.usage.len(), table.integrity()), (255, vec![]));
        let slot = table.remove("node-7").unwrap();
        assert_eq!(table.assign("one-more").unwrap(), slot);
        assert_eq!(Table::unmarshal(&table.marshal(), &table.cluster).unwrap(), table);
    }
}

#[test]
fn four_findings_are_told_apart() {
    let mut table = Table::new(CLUSTER);
    let [one, two] = ["node-1", "node-2"].map(|node| table.assign(node).unwrap());
    let (first, second) = ("node-1".to_owned(), "node-2".to_owned());

    let mut duplicate = table.clone();
    duplicate.entries.get_mut("node-2").unwrap().slot = one;
    let nodes = vec![first.clone(), second.clone()];
    assert_eq!(
        duplicate.integrity(),
        [Finding::DuplicateSlot { slot: one, nodes }, Finding::Mismatch { slot: two, node: second, entry: one }]
    );
    let mut orphan = table.clone();
    orphan.entries.remove("node-1");
    assert_eq!(orphan.integrity(), [Finding::OrphanedUsage { slot: one, node: first.clone() }]);
    table.usage.remove(&one);
    assert_eq!(table.integrity(), [Finding::OrphanedEntry { node: first, slot: one }]);
}

/// Two nodes in one slot, slots that there are not: whoever was given a slot beside them could be given one of theirs.
#[test]
fn a_table_that_contradicts_itself_gives_no_slot_and_takes_none() {
    let (one, two, ghost) = (|| "node-1".to_owned(), || "node-2".to_owned(), || "ghost".to_owned());
    let none = |slot, node| Finding::NoSuchSlot { slot, node, slots: 255 };
    for (changes, findings) in [
        (
            [("\"node_id\":177", "\"node_id\":28"), ("", "")],
            vec![
                Finding::DuplicateSlot { slot: 28, nodes: vec![one(), two()] },
                Finding::Mismatch { slot: 177, node: two(), entry: 28 },
            ],
        ),
        ([("\"node_id\":28", "\"node_id\":0"), ("\"28\":", "\"0\":")], vec![none(0, one())]),
        ([("\"node_id\":28", "\"node_id\":256"), ("\"28\":", "\"256\":")], vec![none(256, one())]),
        (
            [("\"28\":", "\"300\":\"ghost\",\"28\":"), ("", "")],
            vec![none(300, ghost()), Finding::OrphanedUsage { slot: 300, node: ghost() }],
        ),
    ] {
        let json = changes.iter().fold(JSON.to_owned(), |json, (right, wrong)| json.replacen(right, wrong, 1));
        let mut table = Table::unmarshal(&with_sum(&json), CLUSTER).unwrap();
        let before = table.clone();
        assert_eq!(table.integrity(), findings);
        for result in [table.assign("node-3"), table.assign("node-1"), table.remove("node-1")] {
            let error = result.expect_err("a table that contradicts itself");
            assert!(matches!(&error, Error::Inconsistent { findings: told } if *told == findings), "{error}");
            assert!(error.to_string().contains(&findings[0].to_string()), "{error}");
        }
        assert_eq!(table, before);
    }
}

/// JSON lets a name come twice, and readers count the last: the other node would be gone unseen.
#[test]
fn d6_a_name_that_is_there_twice_is_refused() {
    for (right, wrong, name) in [
        ("\"28\":\"node-1\"", "\"28\":\"node-2\",\"28\":\"node-1\"", "\"28\""),
        ("\"node-2\":{\"node_name\":\"node-2\"", "\"node-1\":{\"node_name\":\"node-1\"", "\"node-1\""),
    ] {
        assert!(JSON.contains(right));
        let error = refused(&with_sum(&JSON.replacen(right, wrong, 1)));
        assert!(matches!(error, TableError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{name} is there twice")), "{error}");
    }
}
