//! Reads what the host's resolver answers. It may lie, or somebody else may answer in its place: an answer counts only when
//! it fits the question, and of an answer only what hangs together with the name that was asked (its bailiwick).

use std::net::Ipv4Addr;

use bastide_inspect::Name;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use thiserror::Error;

use super::question::host_name;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The number that the answer must bear.
    pub id: u16,
    /// The name, its letters in cases that the answer must repeat.
    pub spelled: rr::Name,
    /// The type.
    pub kind: RecordType,
    /// Whether the cases count: over TCP nobody guesses, and some middle box may write small.
    pub is_case_strict: bool,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It did not fit; to be asked again over TCP.
    Truncated,
    /// The resolver could not find out.
    Failed(ResponseCode),
    /// It knows.
    Known(Known),
}

/// What is known about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The names it is an alias of, one leading to the next.
    pub aliases: Vec<Name>,
    /// What the last of them holds.
    pub end: End,
    /// Seconds for which all of this holds, as the servers say.
    pub ttl: u32,
    /// Bytes of the messages that said so.
    pub size: usize,
}

/// What a chain of aliases ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// IPv4 addresses, when those were asked for; not filtered yet.
    Addresses(Vec<Ipv4Addr>),
    /// Records of another type.
    Records(Vec<Record>),
    /// The name exists and holds nothing of the type.
    Nothing,
    /// The name does not exist.
    NoName,
    /// The answer ends with an alias and says no more: the last name is to be asked for.
    Cut,
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Lie {
    /// Not an answer to this question; the true one may still come.
    #[error("the answer does not fit the question")]
    Misfit,
    /// It fits, and cannot be.
    #[error("the answer contradicts itself")]
    Contradiction,
    /// Aliases lead in a circle, or too far, or to what is no name of a host.
    #[error("the aliases (CNAME) lead nowhere")]
    Aliases,
}

/// Reads an answer.
pub fn read(message: &[u8], asked: &Asked) -> Result<Reading, Lie> {
    // A stranger who guesses is turned away before anything of his is taken apart.
    if message.first_chunk() != Some(&asked.id.to_be_bytes()) {
        return Err(Lie::Misfit);
    }
    let size = message.len();
    let message = Message::from_vec(message).map_err(|_| Lie::Misfit)?;
    if !fits(&message, asked) {
        return Err(Lie::Misfit);
    }
    if message.metadata.truncation {
        return Ok(Reading::Truncated);
    }
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => known(&message, asked, size).map(Reading::Known),
        code => Ok(Reading::Failed(code)),
    }
}

fn fits(message: &Message, asked: &Asked) -> bool {
    let [question] = message.queries.as_slice() else { return false };
    let is_same_name = match asked.is_case_strict {
        true => question.name.eq_case(&asked.spelled),
        false => question.name == asked.spelled,
    };
    message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && question.query_type == asked.kind
        && question.query_class == DNSClass::IN
        && is_same_name
}

fn known(message: &Message, asked: &Asked, size: usize) -> Result<Known, Lie> {
    let records = || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    let mut current = &asked.spelled;
    let mut aliases: Vec<Name> = Vec::new();
    let mut ttl = u32::MAX;
    while let Some(alias) = alias_of(records(), current)? {
        let name = host_name(alias.0).ok_or(Lie::Aliases)?;
        if aliases.len() >= MAX_ALIASES || aliases.contains(&name) || *alias.0 == asked.spelled {
            return Err(Lie::Aliases);
        }
        aliases.push(name);
        (current, ttl) = (alias.0, ttl.min(alias.1));
    }
    let held: Vec<_> = records()
        .filter(|record| record.name == *current && record.record_type() == asked.kind)
        .take(MAX_RECORDS)
        .collect();
    ttl = held.iter().map(|record| record.ttl).fold(ttl, u32::min);
    let is_missing = message.metadata.response_code == ResponseCode::NXDomain;
    let end = match (is_missing, held.is_empty()) {
        (true, false) => return Err(Lie::Contradiction),
        (false, false) => end(&held, asked.kind),
        (_, true) => match (is_missing, negative_ttl(message, current)) {
            (true, seconds) => {
                ttl = ttl.min(seconds.unwrap_or(0));
                End::NoName
            }
            (false, None) if !aliases.is_empty() => End::Cut,
            (false, seconds) => {
                ttl = ttl.min(seconds.unwrap_or(0));
                End::Nothing
            }
        },
    };
    Ok(Known { aliases, end, ttl, size })
}

/// The name that `owner` is an alias of, and for how long. Two different ones are a contradiction.
fn alias_of<'a>(
    records: impl Iterator<Item = &'a Record>,
    owner: &rr::Name,
) -> Result<Option<(&'a rr::Name, u32)>, Lie> {
    let mut found: Option<(&rr::Name, u32)> = None;
    for record in records.filter(|record| record.name == *owner) {
        if let RData::CNAME(target) = &record.data {
            match found {
                Some((other, _)) if *other != target.0 => return Err(Lie::Contradiction),
                _ => found = Some((&target.0, record.ttl)),
            }
        }
    }
    Ok(found)
}

fn end(held: &[&Record], kind: RecordType) -> End {
    if kind != RecordType::A {
        return End::Records(held.iter().copied().cloned().collect());
    }
    let mut addresses = Vec::new();
    for record in held {
        if let RData::A(address) = &record.data
            && !addresses.contains(&address.0)
        {
            addresses.push(address.0);
        }
    }
    End::Addresses(addresses)
}

/// Seconds for which nothing need be asked again (RFC 2308, section 5), said by a zone that the name lies in.
fn negative_ttl(message: &Message, name: &rr::Name) -> Option<u32> {
    let mut authorities = message.authorities.iter().filter(|record| record.name.zone_of(name));
    authorities.find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// Aliases followed in one answer; real chains have up to five.
pub const MAX_ALIASES: usize = 8;

/// Records taken from one answer.
const MAX_RECORDS: usize = 64;

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> rr::Name {
        rr::Name::from_ascii(text).unwrap()
    }

    fn asked(text: &str) -> Asked {
        Asked { id: 5, spelled: name(text), kind: RecordType::A, is_case_strict: true }
    }

    fn address(owner: &str, ttl: u32, last: u8) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(198, 18, 0, last)))
    }

    fn alias(owner: &str, ttl: u32, target: &str) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::SOA(SOA::new(name("ns."), name("x."), 1, 1, 1, 1, minimum)))
    }

    fn answer(text: &str, records: Vec<Record>) -> Message {
        let mut message = Message::response(5, OpCode::Query);
        message.add_query(Query::query(name(text), RecordType::A));
        message.insert_answers(records);
        message
    }

    fn read_answer(message: &Message) -> Result<Reading, Lie> {
        read(&message.to_vec().unwrap(), &asked("a.org."))
    }

    fn known(message: &Message) -> Known {
        match read_answer(message) {
            Ok(Reading::Known(known)) => known,
            other => panic!("{other:?}"),
        }
    }

    fn addresses(last: &[u8]) -> End {
        End::Addresses(last.iter().map(|last| [198, 18, 0, *last].into()).collect())
    }

    #[test]
    fn addresses_at_the_end_of_aliases() {
        let records = vec![
            address("c.net.", 40, 1),
            alias("A.org.", 300, "b.net."),
            alias("b.net.", 20, "C.net."),
            address("c.net.", 50, 2),
            address("c.net.", 50, 1),
        ];
        let known = known(&answer("a.org.", records));
        assert_eq!(known.aliases, [Name::parse("b.net").unwrap(), Name::parse("c.net").unwrap()]);
        assert_eq!((known.end, known.ttl), (addresses(&[1, 2]), 20));
    }

    #[test]
    fn what_hangs_together_with_nothing_is_not_taken() {
        let mut message = answer("a.org.", vec![address("a.org.", 60, 1), address("victim.org.", 60, 9)]);
        message.add_additional(address("a.org.", 60, 8));
        message.add_authority(address("a.org.", 60, 7));
        assert_eq!(known(&message).end, addresses(&[1]));
        let mut chaos = address("a.org.", 60, 9);
        chaos.dns_class = DNSClass::CH;
        assert_eq!(known(&answer("a.org.", vec![chaos])).end, End::Nothing);
    }

    #[test]
    fn an_answer_to_another_question_is_a_misfit() {
        let good = answer("a.org.", vec![address("a.org.", 60, 1)]);
        let mut cases = vec![answer("b.org.", vec![]), answer("A.org.", vec![]), Message::query()];
        for change in [
            (|message| message.metadata.id = 6) as fn(&mut Message),
            |message| message.metadata.message_type = MessageType::Query,
            |message| message.metadata.op_code = OpCode::Notify,
            |message| message.queries.clear(),
            |message| message.queries[0].query_type = RecordType::AAAA,
            |message| message.queries[0].query_class = DNSClass::CH,
            |message| message.queries.extend(message.queries.clone()),
        ] {
            let mut changed = good.clone();
            change(&mut changed);
            cases.push(changed);
        }
        for case in cases {
            assert_eq!(read_answer(&case), Err(Lie::Misfit), "{case}");
        }
        assert!(read_answer(&good).is_ok());
        let relaxed = Asked { is_case_strict: false, ..asked("A.ORG.") };
        assert!(read(&good.to_vec().unwrap(), &relaxed).is_ok());
    }

    #[test]
    fn aliases_that_lead_nowhere_are_a_lie() {
        let circle = vec![alias("a.org.", 1, "b.org."), alias("b.org.", 1, "a.org.")];
        let own = vec![alias("a.org.", 1, "a.org.")];
        let far = (0..9).map(|step| match step {
            0 => alias("a.org.", 1, "n1.org."),
            step => alias(&format!("n{step}.org."), 1, &format!("n{}.org.", step + 1)),
        });
        let odd = vec![alias("a.org.", 1, "10.0.0.1.")];
        for records in [circle, own, far.collect(), odd] {
            assert_eq!(read_answer(&answer("a.org.", records)), Err(Lie::Aliases));
        }
        let two = vec![alias("a.org.", 1, "b.org."), alias("a.org.", 1, "c.org.")];
        assert_eq!(read_answer(&answer("a.org.", two)), Err(Lie::Contradiction));
    }

    #[test]
    fn nothing_no_name_and_a_cut_chain_are_told_apart() {
        let mut nothing = answer("a.org.", vec![]);
        nothing.add_authority(soa("org.", 900, 70));
        assert_eq!((known(&nothing).end, known(&nothing).ttl), (End::Nothing, 70));

        nothing.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(known(&nothing).end, End::NoName);

        let mut foreign = answer("a.org.", vec![]);
        foreign.add_authority(soa("net.", 900, 70));
        assert_eq!(known(&foreign).ttl, 0, "a zone speaks for its own names only");

        assert_eq!(known(&answer("a.org.", vec![alias("a.org.", 9, "b.net.")])).end, End::Cut);
        let mut ended = answer("a.org.", vec![alias("a.org.", 9, "b.net.")]);
        ended.add_authority(soa("net.", 5, 70));
        assert_eq!((known(&ended).end, known(&ended).ttl), (End::Nothing, 5));

        let mut both = answer("a.org.", vec![address("a.org.", 60, 1)]);
        both.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(read_answer(&both), Err(Lie::Contradiction));
    }

    #[test]
    fn failures_truncation_and_other_types() {
        let mut message = answer("a.org.", vec![]);
        message.metadata.response_code = ResponseCode::Refused;
        assert_eq!(read_answer(&message), Ok(Reading::Failed(ResponseCode::Refused)));
        message.metadata.truncation = true;
        assert_eq!(read_answer(&message), Ok(Reading::Truncated));

        let text = Record::from_rdata(name("a.org."), 60, RData::TXT(TXT::new(vec!["x".into()])));
        let mut message = answer("a.org.", vec![text.clone(), address("a.org.", 60, 1)]);
        message.queries[0].query_type = RecordType::TXT;
        let asked = Asked { kind: RecordType::TXT, ..asked("a.org.") };
        let Ok(Reading::Known(known)) = read(&message.to_vec().unwrap(), &asked) else { panic!() };
        assert_eq!(known.end, End::Records(vec![text]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes, &asked("a.org."));
            if let Some(id) = bytes.first_chunk_mut() {
                *id = 5u16.to_be_bytes();
            }
            let _ = read(&bytes, &asked("a.org."));
        }

        // Whatever becomes of a good answer on its way, no address comes out that it does not name for the name asked.
        #[test]
        fn a_damaged_answer_makes_no_other_name(place in 12usize..80, byte: u8) {
            let records = vec![alias("a.org.", 9, "b.net."), address("b.net.", 9, 1), address("c.net.", 9, 2)];
            let mut bytes = answer("a.org.", records).to_vec().unwrap();
            let place = place % bytes.len();
            bytes[place] = byte;
            if let Ok(Reading::Known(known)) = read(&bytes, &asked("a.org.")) {
                prop_assert!(known.aliases.len() <= MAX_ALIASES);
            }
        }
    }
}
