//! A segment in a region that the `shared_memory` crate made.
#![cfg(feature = "shared_memory")]

use shared_memory::ShmemConf;
use slotguard::{Error, Segment};

fn builder() -> slotguard::SegmentBuilder {
    Segment::builder().records(4).lanes(4).participants(4)
}

#[test]
fn a_segment_in_a_region_is_shared_with_whoever_opens_the_region() {
    let region = ShmemConf::new().size(builder().size().unwrap() as usize + 5000).create().unwrap();
    let segment = builder().place_in(&region).unwrap();
    segment.record(1).unwrap().update(|_, draft| draft.write(b"placed")).unwrap();
    let again = ShmemConf::new().os_id(region.get_os_id()).open().unwrap();
    let other = Segment::in_region(&again).unwrap();
    let mut value = Vec::new();
    other.record(1).unwrap().read(&mut value).unwrap();
    assert_eq!(value, b"placed");
    assert_eq!(other.participants().unwrap().len(), 2);
}

#[test]
fn a_region_that_is_too_small_in_use_or_a_segment_already_is_refused_and_left_alone() {
    let size = builder().size().unwrap() as usize;
    let small = ShmemConf::new().size(size - 1).create().unwrap();
    let error = builder().place_in(&small).unwrap_err();
    assert!(error.to_string().contains(&format!("the segment needs {size}")), "{error}");

    let region = ShmemConf::new().size(size).create().unwrap();
    assert!(matches!(Segment::in_region(&region), Err(Error::NotASegment { .. })));
    // SAFETY: byte 4000 is inside the region, which is larger than a page.
    let place = unsafe { region.as_ptr().add(4000) };
    // SAFETY: the region is this test's own, mapped, and nobody else has it open.
    unsafe { place.write(7) };
    let error = builder().place_in(&region).unwrap_err();
    assert!(error.to_string().contains("holds something already"), "{error}");
    // SAFETY: as above.
    assert_eq!(unsafe { place.read() }, 7);
    // SAFETY: as above.
    unsafe { place.write(0) };
    let _segment = builder().place_in(&region).unwrap();
    assert!(matches!(builder().place_in(&region), Err(Error::AlreadyExists { .. })));
}
