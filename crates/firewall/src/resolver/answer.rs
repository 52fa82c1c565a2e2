//! Writes what a compute is told.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record};

use super::question::Question;

/// An answer before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub code: ResponseCode,
    /// The records, those of aliases first.
    pub records: Vec<Record>,
    /// For how long nothing may be remembered, in seconds; for answers without records only.
    pub negative_ttl: Option<u32>,
    /// Why, for people (RFC 8914).
    pub error: Option<ExtendedError>,
}

/// An extended DNS error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedError {
    /// What kind.
    pub code: ErrorCode,
    /// Why, and what to do about it.
    pub text: String,
}

/// The extended DNS errors that are used here, by their numbers in RFC 8914, section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The operator does not let the name through.
    Blocked = 15,
    /// The name is let through, what it leads to is not.
    Filtered = 17,
    /// The client asks too much.
    Prohibited = 18,
    /// Nothing that is ever answered.
    NotSupported = 21,
    /// The host's resolver does not answer.
    NoReachableAuthority = 22,
    /// The host's resolver answers what cannot be.
    InvalidData = 24,
}

impl Answer {
    /// An answer with records.
    pub fn found(records: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, records, negative_ttl: None, error: None }
    }

    /// An answer without records.
    pub fn nothing(code: ResponseCode, negative_ttl: u32) -> Self {
        Self { code, records: Vec::new(), negative_ttl: Some(negative_ttl), error: None }
    }

    /// Says why.
    pub fn because(self, code: ErrorCode, text: impl Into<String>) -> Self {
        Self { error: Some(ExtendedError { code, text: text.into() }), ..self }
    }

    /// Writes the answer to `question` in at most `limit` bytes. What does not fit is left out: first the words of the
    /// extended error, then, with the bit TC set, the records.
    pub fn write(&self, question: &Question, limit: usize) -> Vec<u8> {
        let mut message = self.message(question);
        for shorten in [Shorten::Nothing, Shorten::Words, Shorten::Records] {
            shorten.apply(&mut message);
            match message.to_vec() {
                Ok(bytes) if bytes.len() <= limit => return bytes,
                _ => {}
            }
        }
        header(question.id, OpCode::Query, ResponseCode::ServFail)
    }

    fn message(&self, question: &Question) -> Message {
        let mut message = Message::new(question.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = question.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = question.checking_disabled;
        message.metadata.response_code = self.code;
        let mut query = Query::query(question.spelled.clone(), question.kind);
        query.set_query_class(question.class);
        message.add_query(query);
        message.insert_answers(self.records.clone());
        if let Some(ttl) = self.negative_ttl {
            message.add_authority(start_of_authority(ttl));
        }
        if question.payload.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            if let Some(error) = &self.error {
                edns.options_mut().insert(error.option());
            }
            message.set_edns(edns);
        }
        message
    }
}

impl ExtendedError {
    fn option(&self) -> EdnsOption {
        let mut data = (self.code as u16).to_be_bytes().to_vec();
        data.extend_from_slice(self.text.as_bytes());
        EdnsOption::Unknown(EXTENDED_ERROR, data)
    }
}

/// What a client can take over UDP, in bytes.
pub fn datagram_limit(question: &Question) -> usize {
    usize::from(question.payload.unwrap_or(LEAST_PAYLOAD).clamp(LEAST_PAYLOAD, PAYLOAD))
}

/// An answer of nothing but a header, for messages that hold no question.
pub fn header(id: u16, op_code: OpCode, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Response, op_code);
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    if code.high() > 0 {
        message.set_edns(Edns::new());
    }
    message.to_vec().unwrap_or_default()
}

/// The steps by which an answer is made to fit.
#[derive(Clone, Copy)]
enum Shorten {
    Nothing,
    Words,
    Records,
}

impl Shorten {
    fn apply(self, message: &mut Message) {
        match self {
            Self::Nothing => {}
            Self::Words => {
                let options = message.edns.as_mut().map(|edns| &mut edns.options_mut().options);
                for (_, option) in options.into_iter().flatten() {
                    if let EdnsOption::Unknown(EXTENDED_ERROR, data) = option {
                        data.truncate(2);
                    }
                }
            }
            Self::Records => {
                message.metadata.truncation = true;
                message.answers.clear();
                message.authorities.clear();
            }
        }
    }
}

/// Says for how long an answer without records holds (RFC 2308). It is the root's on paper: whose name it was is not ours
/// to say, and a stub looks at the seconds only.
fn start_of_authority(ttl: u32) -> Record {
    let data = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(data))
}

/// What is sent over UDP at most: no fragments (RFC 9715, section 3).
const PAYLOAD: u16 = 1232;

/// What every client can take (RFC 1035, section 2.3.4).
const LEAST_PAYLOAD: u16 = 512;

/// The EDNS option of extended DNS errors (RFC 8914, section 2).
const EXTENDED_ERROR: u16 = 15;

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{DNSClass, RecordType};

    use super::*;
    use crate::resolver::question;

    fn question(payload: Option<u16>) -> Question {
        let spelled = Name::from_ascii("PyPI.org.").unwrap();
        Question {
            id: 9,
            recursion_desired: true,
            checking_disabled: false,
            name: question::host_name(&spelled),
            spelled,
            kind: RecordType::A,
            class: DNSClass::IN,
            payload,
        }
    }

    fn records(count: u8) -> Vec<Record> {
        let name = Name::from_ascii("PyPI.org.").unwrap();
        (0..count).map(|last| Record::from_rdata(name.clone(), 60, RData::A(A::new(198, 18, 0, last)))).collect()
    }

    fn extended_error(message: &Message) -> Option<(u16, String)> {
        let options = message.edns.as_ref()?.options().as_ref();
        options.iter().find_map(|(_, option)| match option {
            EdnsOption::Unknown(EXTENDED_ERROR, data) => {
                let (code, text) = data.split_first_chunk()?;
                Some((u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).ok()?))
            }
            _ => None,
        })
    }

    #[test]
    fn a_refusal_says_why_and_for_how_long() {
        let answer = Answer::nothing(ResponseCode::NXDomain, 1).because(ErrorCode::Blocked, "add an FQDN rule");
        let message = Message::from_vec(&answer.write(&question(Some(4096)), 1232)).unwrap();
        assert_eq!((message.metadata.id, message.metadata.response_code), (9, ResponseCode::NXDomain));
        assert_eq!(extended_error(&message), Some((15, "add an FQDN rule".into())));
        assert_eq!(message.authorities[0].ttl, 1);
        assert_eq!(message.queries[0].name.to_ascii(), "PyPI.org.");

        let plain = Message::from_vec(&answer.write(&question(None), 512)).unwrap();
        assert_eq!((plain.metadata.response_code, plain.edns), (ResponseCode::NXDomain, None));
    }

    #[test]
    fn what_does_not_fit_is_cut_words_first() {
        let words = Answer::nothing(ResponseCode::NXDomain, 1).because(ErrorCode::Blocked, "x".repeat(600));
        let message = Message::from_vec(&words.write(&question(Some(512)), 512)).unwrap();
        assert!(!message.metadata.truncation);
        assert_eq!(extended_error(&message), Some((15, String::new())));

        let many = Answer::found(records(200));
        let bytes = many.write(&question(Some(1232)), 1232);
        let message = Message::from_vec(&bytes).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty() && bytes.len() < 512);
        let message = Message::from_vec(&many.write(&question(None), 65_535)).unwrap();
        assert_eq!((message.metadata.truncation, message.answers.len()), (false, 200));
    }

    #[test]
    fn a_client_says_how_much_it_can_take_within_reason() {
        for (payload, limit) in [(None, 512), (Some(0), 512), (Some(1000), 1000), (Some(65_535), 1232)] {
            assert_eq!(datagram_limit(&question(payload)), limit, "{payload:?}");
        }
    }

    #[test]
    fn a_message_without_question_gets_a_header() {
        let message = Message::from_vec(&header(3, OpCode::Update, ResponseCode::NotImp)).unwrap();
        assert_eq!((message.metadata.id, message.metadata.op_code), (3, OpCode::Update));
        assert_eq!(message.metadata.response_code, ResponseCode::NotImp);
        let message = Message::from_vec(&header(3, OpCode::Query, ResponseCode::BADVERS)).unwrap();
        assert_eq!(message.edns.unwrap().rcode_high(), 1);
    }
}
