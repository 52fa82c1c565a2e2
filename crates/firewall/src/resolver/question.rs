//! Reads what a compute asks: hostile bytes into one question, or into how to turn it down.
//!
//! Strict on purpose: no pointers, no records but one OPT, no bytes left over. What ordinary clients send is exactly that,
//! and a question that two programs could read in two ways is none.

use bastide_inspect::Name;
use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr;
use hickory_proto::rr::{DNSClass, RecordType};

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Comes back with the answer.
    pub id: u16,
    /// The bit RD, which comes back as it is.
    pub recursion_desired: bool,
    /// The bit CD, which comes back as it is.
    pub checking_disabled: bool,
    /// The name as it was spelled, which comes back as it is.
    pub spelled: rr::Name,
    /// The name of a host. None: it is none, such as the root.
    pub name: Option<Name>,
    /// What is asked about the name.
    pub kind: RecordType,
    /// The class; everything but `IN` is history.
    pub class: DNSClass,
    /// The bytes that the client says it can take over UDP. None: it does not speak EDNS (RFC 6891).
    pub payload: Option<u16>,
}

/// Why there is no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Too short for a header, or itself an answer: to answer would make loops.
    Ignored,
    /// To be turned down.
    Refused {
        /// Comes back with the answer.
        id: u16,
        /// What to do, which comes back as it is.
        op_code: OpCode,
        /// Why.
        code: ResponseCode,
    },
}

/// Reads a message.
pub fn read(message: &[u8]) -> Result<Question, Unreadable> {
    let mut reader = Reader(message);
    let header: [u16; 6] = reader.words().ok_or(Unreadable::Ignored)?;
    let [id, flags, questions, answers, authorities, additionals] = header;
    if flags & RESPONSE != 0 {
        return Err(Unreadable::Ignored);
    }
    let op_code = OpCode::from_u8(u8::try_from(flags >> 11 & 0xf).unwrap_or_default());
    let refused = |code| Unreadable::Refused { id, op_code, code };
    if op_code != OpCode::Query {
        return Err(refused(ResponseCode::NotImp));
    }
    // More than one question has never meant anything (RFC 9619).
    if questions != 1 || answers != 0 || authorities != 0 || additionals > 1 || flags & (TRUNCATED | CODE) != 0 {
        return Err(refused(ResponseCode::FormErr));
    }
    let body = reader.body(additionals == 1).ok_or_else(|| refused(ResponseCode::FormErr))?;
    if body.version.is_some_and(|version| version != 0) {
        return Err(refused(ResponseCode::BADVERS));
    }
    Ok(Question {
        id,
        recursion_desired: flags & RECURSION_DESIRED != 0,
        checking_disabled: flags & CHECKING_DISABLED != 0,
        name: host_name(&body.spelled),
        spelled: body.spelled,
        kind: RecordType::from(body.kind),
        class: DNSClass::from(body.class),
        payload: body.payload,
    })
}

/// The name of a host that a spelled name is, in its one form.
pub(super) fn host_name(spelled: &rr::Name) -> Option<Name> {
    let mut bytes = Vec::with_capacity(spelled.len());
    for label in spelled {
        // A dot inside a label would make two labels of it.
        if label.contains(&b'.') {
            return None;
        }
        if !bytes.is_empty() {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(label);
    }
    Name::parse_bytes(&bytes).ok()
}

/// A name as it is spelled in messages.
pub(super) fn spell(name: &Name) -> rr::Name {
    // A `Name` is within the limits of the wire; the root would be answered with nothing.
    rr::Name::from_labels(name.labels().map(str::as_bytes)).unwrap_or_else(|_| rr::Name::root())
}

/// What follows the header.
struct Body {
    spelled: rr::Name,
    kind: u16,
    class: u16,
    payload: Option<u16>,
    version: Option<u8>,
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn body(&mut self, has_option: bool) -> Option<Body> {
        let spelled = self.name()?;
        let [kind, class] = self.words()?;
        let mut body = Body { spelled, kind, class, payload: None, version: None };
        if has_option {
            let ([0], [OPT, payload]) = (self.array()?, self.words()?) else { return None };
            let [_, version, _, _] = self.array()?;
            let [length] = self.words()?;
            let mut options = Reader(self.take(usize::from(length))?);
            while !options.0.is_empty() {
                let [_, length] = options.words()?;
                options.take(usize::from(length))?;
            }
            (body.payload, body.version) = (Some(payload), Some(version));
        }
        self.0.is_empty().then_some(body)
    }

    fn name(&mut self) -> Option<rr::Name> {
        let mut labels: Vec<&[u8]> = Vec::new();
        loop {
            let [length] = self.array()?;
            match length {
                0 => return rr::Name::from_labels(labels).ok(),
                1..=MAX_LABEL => labels.push(self.take(usize::from(length))?),
                // A pointer: there is nothing before the question that it could point to.
                _ => return None,
            }
        }
    }

    fn words<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = u16::from_be_bytes(self.array()?);
        }
        Some(words)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

// Bits of the header (RFC 1035, section 4.1.1; RFC 2535, section 6.1).
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const CHECKING_DISABLED: u16 = 0x0010;
const CODE: u16 = 0x000f;

/// The record type OPT (RFC 6891).
const OPT: u16 = 41;

const MAX_LABEL: u8 = 63;

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, Query};
    use hickory_proto::rr::rdata::opt::EdnsOption;
    use proptest::prelude::*;

    use super::*;

    fn message(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(rr::Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn refusal(bytes: &[u8]) -> Option<ResponseCode> {
        match read(bytes) {
            Err(Unreadable::Refused { id: 7, code, .. }) => Some(code),
            _ => None,
        }
    }

    #[test]
    fn a_question_as_stubs_ask_it() {
        let mut asked = message("PyPI.org.", RecordType::A);
        asked.metadata.checking_disabled = true;
        let mut edns = Edns::new();
        edns.set_max_payload(1400);
        edns.options_mut().insert(EdnsOption::Unknown(10, vec![1; 8]));
        asked.set_edns(edns);
        let question = read(&asked.to_vec().unwrap()).unwrap();
        assert_eq!(question.name.as_ref().map(Name::as_str), Some("pypi.org"));
        assert!(question.spelled.eq_case(&rr::Name::from_ascii("PyPI.org.").unwrap()), "spelled as it was");
        assert_eq!((question.id, question.kind, question.class), (7, RecordType::A, DNSClass::IN));
        assert_eq!(question.payload, Some(1400));
        assert!(question.recursion_desired && question.checking_disabled);
    }

    #[test]
    fn a_dot_inside_a_label_makes_no_other_name() {
        let labels: [&[u8]; 2] = [b"pypi.org", b"evil"];
        let spelled = rr::Name::from_labels(labels).unwrap();
        assert_eq!(host_name(&spelled), None);
        for labels in [&[][..], &["10", "0", "0", "1"], &["a b", "org"], &["-a", "org"], &["a\0", "org"]] {
            let spelled = rr::Name::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap();
            assert_eq!(host_name(&spelled), None, "{spelled}");
        }
    }

    #[test]
    fn what_is_no_single_question_is_malformed() {
        let good = message("pypi.org.", RecordType::A);
        let mut two = good.clone();
        two.add_query(Query::query(rr::Name::from_ascii("evil.org.").unwrap(), RecordType::A));
        assert_eq!(refusal(&two.to_vec().unwrap()), Some(ResponseCode::FormErr));

        let mut none = good.clone();
        none.queries.clear();
        assert_eq!(refusal(&none.to_vec().unwrap()), Some(ResponseCode::FormErr));

        let mut trailing = good.to_vec().unwrap();
        trailing.push(0);
        assert_eq!(refusal(&trailing), Some(ResponseCode::FormErr));

        let bytes = good.to_vec().unwrap();
        assert_eq!(refusal(&bytes[..bytes.len() - 1]), Some(ResponseCode::FormErr));

        // A name that points to itself, as loops are made.
        let mut pointer = bytes[..12].to_vec();
        pointer.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(refusal(&pointer), Some(ResponseCode::FormErr));
    }

    #[test]
    fn updates_answers_and_versions_to_come_are_turned_down() {
        let mut update = message("pypi.org.", RecordType::A);
        update.metadata.op_code = OpCode::Update;
        assert_eq!(refusal(&update.to_vec().unwrap()), Some(ResponseCode::NotImp));

        let mut newer = message("pypi.org.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(1);
        newer.set_edns(edns);
        assert_eq!(refusal(&newer.to_vec().unwrap()), Some(ResponseCode::BADVERS));

        let answer = message("pypi.org.", RecordType::A).into_response();
        assert_eq!(read(&answer.to_vec().unwrap()), Err(Unreadable::Ignored));
        assert_eq!(read(&[0; 11]), Err(Unreadable::Ignored));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
        }

        // A good question with one byte changed, cut or added: the readers agree, or ours is the stricter one.
        #[test]
        fn what_we_read_the_library_reads_alike(place in 0usize..60, byte: u8, cut in 0usize..4) {
            let mut asked = message("a.Pypi.org.", RecordType::A);
            asked.set_edns(Edns::new());
            let mut bytes = asked.to_vec().unwrap();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut);
            if let Ok(question) = read(&bytes) {
                let theirs = Message::from_vec(&bytes).unwrap();
                prop_assert_eq!(theirs.queries.len(), 1);
                prop_assert!(theirs.queries[0].name.eq_case(&question.spelled));
                prop_assert_eq!(theirs.queries[0].query_type, question.kind);
                prop_assert_eq!(theirs.edns.is_some(), question.payload.is_some());
            }
        }
    }
}
