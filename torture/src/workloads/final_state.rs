//! What is left when everybody has gone: the data, and what should have gone with whoever put it.

use slotguard::Error;
use slotguard::backend::{Backend, Meta, SharedMemory};

use crate::check::Final;

/// What the names of data begin with; a number follows.
pub const DATA: &str = "data/";

/// Reads so many entries of data, and answers the names of all others but those that are to stay.
pub fn read(
    store: &SharedMemory,
    places: usize,
    stays: impl Fn(&str, &[u8], &Meta) -> bool,
) -> Result<(Vec<Final>, Vec<String>), Error> {
    store.reap()?;
    let (mut data, mut others) = (vec![Final::NEVER; places], Vec::new());
    store.range("", &mut |key, value, meta| {
        let name = key.as_ref();
        let number = name.strip_prefix(DATA).and_then(|number| number.parse::<u32>().ok());
        match number.and_then(|number| Some((number, data.get_mut(number as usize)?))) {
            Some((number, place)) if meta.lease.is_none() => *place = Final::of(number, value, meta.version),
            None if stays(name, value, &meta) => {}
            _ => others.push(name.to_owned()),
        }
    })?;
    Ok((data, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Author, Evidence, SHORTEST};
    use slotguard::Segment;
    use slotguard::backend::Op;

    #[test]
    fn data_is_told_from_what_stays_and_from_what_should_be_gone() {
        let segment = Segment::builder().records(1).keys(40).payload(64).anonymous().expect("a segment");
        let store = SharedMemory::new(segment).expect("keys");
        let mut value = Vec::new();
        let one = Evidence::NONE.followed_by(Author { writer: 1, sequence: 1 });
        one.write(1, SHORTEST, &mut value);
        let bytes: [(&str, &[u8]); 4] = [("data/1", &value), ("data/2", &value), ("kept/1", b"x"), ("lost/1", b"x")];
        for (name, value) in bytes {
            store.commit(&[Op::put(&store.key(name).expect("a name"), value)]).expect("a put");
        }
        let (data, others) = read(&store, 2, |name, _, _| name.starts_with("kept/")).expect("a look");
        assert_eq!(data[1].evidence, Ok(one));
        assert_eq!((data.len(), data[0].version, data[1].version), (2, 0, 1));
        assert_eq!(others, ["data/2", "lost/1"]);
    }
}
