//! Reading JSON objects member by member, straight into borrowed fields: no document tree.
//!
//! A sender's shape is a struct that implements [`Fields`]: it is handed every member once and stores it, or keeps it
//! as [`Extra`]. A member that decides identity or state is read with [`Member::once`] and may not be given twice
//! (RFC 8259 leaves open which one counts, so two readers could disagree about what an alert is); of any other
//! member the last one counts. `null` is the same as absent.
//!
//! Where an error arose is written down in the [`Trail`] as it travels outward, so that a refusal can name the field by
//! JSON pointer (RFC 6901).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::canonical::push_string;
use super::extra::{Extra, Item, Json};
use super::fault::Fault;
use super::time;

/// Text of the body: borrowed unless it held escapes.
pub type Text<'a> = Cow<'a, str>;

/// More labels than any sender makes; a larger set is a mistake that would fill state.
pub const MAX_LABELS: usize = 256;
/// Longest label or annotation value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Where and why reading stopped.
#[derive(Debug, Default)]
pub struct Trail {
    /// Innermost first.
    segments: RefCell<Vec<String>>,
    reason: Cell<Option<&'static str>>,
}

impl Trail {
    fn note<T, E>(&self, segment: &str, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.segments.borrow_mut().push(segment.to_owned());
        }
        result
    }

    fn fail<E: Error>(&self, reason: &'static str, message: impl fmt::Display) -> E {
        self.reason.set(Some(reason));
        E::custom(message)
    }

    pub fn reason(&self) -> Option<&'static str> {
        self.reason.get()
    }

    /// The JSON pointer of the value that could not be read; empty for the whole text.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in self.segments.borrow().iter().rev() {
            pointer.push('/');
            pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}

/// What takes the members of an object.
pub trait Fields<'de> {
    /// What the object is, for "expected …".
    const WHAT: &'static str;

    /// Reads the member's value, exactly once.
    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error>;
}

/// Reads `text`, which must be one object and nothing else, into `fields`.
pub fn read_object<'de, F: Fields<'de>>(text: &'de str, fields: &mut F) -> Result<(), Fault> {
    let trail = Trail::default();
    let mut json = serde_json::Deserializer::from_str(text);
    Object { fields, trail: &trail }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|e| Fault::json(&e, &trail))
}

/// Reads the object at the beginning of `text` into `fields`, and nothing behind it.
pub fn read_leading_object<'de, F: Fields<'de>>(text: &'de str, fields: &mut F) -> Result<(), Fault> {
    let trail = Trail::default();
    let mut json = serde_json::Deserializer::from_str(text);
    Object { fields, trail: &trail }
        .deserialize(&mut json)
        .map_err(|e| Fault::json(&e, &trail))
}

/// Reads `text`, which must be one array and nothing else, as the texts of its elements.
pub fn read_array(text: &str) -> Result<Vec<&RawValue>, Fault> {
    serde_json::from_str(text).map_err(|e| Fault::json(&e, &Trail::default()))
}

struct Object<'t, F> {
    fields: &'t mut F,
    trail: &'t Trail,
}

impl<'de, F: Fields<'de>> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: Fields<'de>> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            self.fields.member(Member {
                name,
                map: &mut map,
                trail: self.trail,
            })?;
        }
        Ok(())
    }
}

/// One member of an object, its value not yet read.
pub struct Member<'m, 'de, A> {
    name: Text<'de>,
    map: &'m mut A,
    trail: &'m Trail,
}

impl<'de, A: MapAccess<'de>> Member<'_, 'de, A> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, by `read`, one of the readers below.
    pub fn value<T>(self, read: Read<T>) -> Result<Option<T>, A::Error>
    where
        Read<T>: Readable<'de, Value = T>,
    {
        let value = self.map.next_value_seed(Seed {
            read,
            trail: self.trail,
        });
        self.trail.note(&self.name, value)
    }

    /// A member that decides identity or state: a second one is refused as `duplicate_key`.
    pub fn once<T>(self, slot: &mut Option<T>, read: Read<T>) -> Result<(), A::Error>
    where
        Read<T>: Readable<'de, Value = T>,
    {
        if slot.is_some() {
            let refused = Err(self
                .trail
                .fail("duplicate_key", "given twice, and it decides what the signal is"));
            return self.trail.note(&self.name, refused);
        }
        *slot = self.value(read)?;
        Ok(())
    }

    /// Any other member: the last one counts.
    pub fn last<T>(self, slot: &mut Option<T>, read: Read<T>) -> Result<(), A::Error>
    where
        Read<T>: Readable<'de, Value = T>,
    {
        *slot = self.value(read)?;
        Ok(())
    }

    /// The value's text, to be read later. A second one is refused.
    pub fn raw(self, slot: &mut Option<&'de RawValue>) -> Result<(), A::Error> {
        if slot.is_some() {
            let refused = Err(self
                .trail
                .fail("duplicate_key", "given twice, and it decides what the signal is"));
            return self.trail.note(&self.name, refused);
        }
        let json = self.map.next_value::<&'de RawValue>()?;
        *slot = Some(json).filter(|json| json.get() != "null");
        Ok(())
    }

    /// Keeps the member as it stands. `stable`: it is part of what the sender said, so a change of it is an update.
    pub fn keep(self, extra: &mut Extra<'de>, stable: bool) -> Result<(), A::Error> {
        let json = self.map.next_value::<&'de RawValue>()?;
        extra.items.push(Item {
            name: self.name,
            json: Json::Raw(json.get()),
            stable,
        });
        Ok(())
    }

    /// Reads past the value.
    pub fn skip(self) -> Result<(), A::Error> {
        self.map.next_value::<serde::de::IgnoredAny>().map(|_| ())
    }

    /// Stops reading the object here.
    pub fn stop(self) -> A::Error {
        A::Error::custom("stop")
    }
}

/// Names with texts, sorted by name, each name once.
#[derive(Debug, Default)]
pub struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> Pairs<'a> {
    /// Of a decoder's own making; of two with one name the later counts.
    pub fn made(mut pairs: Vec<(&'static str, String)>) -> Self {
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = std::mem::take(&mut later.1);
            }
            same
        });
        let mut pairs: Vec<(Text<'a>, Text<'a>)> = pairs
            .into_iter()
            .map(|(name, value)| (Text::Borrowed(name), Text::Owned(value)))
            .collect();
        for (_, value) in &mut pairs {
            if value.len() > MAX_VALUE_BYTES {
                let mut end = MAX_VALUE_BYTES;
                while !value.is_char_boundary(end) {
                    end -= 1;
                }
                value.to_mut().truncate(end);
            }
        }
        Pairs(pairs)
    }

    /// As [`Pairs::made`], of names that the sender gave.
    pub fn owned(mut pairs: Vec<(String, String)>) -> Self {
        // Stable: of equal names the later one stays behind.
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(Text<'a>, Text<'a>)> = Vec::with_capacity(pairs.len());
        for (name, mut value) in pairs {
            let end = value.floor_char_boundary(MAX_VALUE_BYTES);
            value.truncate(end);
            match kept.last_mut() {
                Some(last) if *last.0 == name => last.1 = Text::Owned(value),
                _ => kept.push((Text::Owned(name), Text::Owned(value))),
            }
        }
        Pairs(kept)
    }

    /// The value of `name`; empty values count as absent, as in Prometheus.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty())
    }

    /// The first of `names` that is there.
    pub fn first_of<S: AsRef<str>>(&self, names: &[S]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name.as_ref()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As a JSON object.
    pub fn push_json(&self, out: &mut String) {
        out.push('{');
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_string(out, name);
            out.push(':');
            push_string(out, value);
        }
        out.push('}');
    }
}

/// How a value is read; see the constants.
#[derive(Debug)]
pub struct Read<T> {
    how: How,
    as_a: std::marker::PhantomData<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Text,
    Time,
    TimeOrMillis,
    Integer,
    Labels,
    Annotations,
    Elements,
}

impl<T> Read<T> {
    const fn of(how: How) -> Self {
        Read {
            how,
            as_a: std::marker::PhantomData,
        }
    }
}

/// A string.
pub const fn text<'a>() -> Read<Text<'a>> {
    Read::of(How::Text)
}

/// An RFC 3339 time, in microseconds; Go's zero time is `None`.
pub const fn time() -> Read<i64> {
    Read::of(How::Time)
}

/// An RFC 3339 time or a number of milliseconds since the epoch, in microseconds.
pub const fn time_or_millis() -> Read<i64> {
    Read::of(How::TimeOrMillis)
}

pub const fn integer() -> Read<i64> {
    Read::of(How::Integer)
}

/// An object of strings in which a name that comes twice is refused.
pub const fn labels<'a>() -> Read<Pairs<'a>> {
    Read::of(How::Labels)
}

/// An object of strings in which the last of equal names counts.
pub const fn annotations<'a>() -> Read<Pairs<'a>> {
    Read::of(How::Annotations)
}

/// An array, as the texts of its elements.
pub const fn elements<'a>() -> Read<Vec<&'a RawValue>> {
    Read::of(How::Elements)
}

/// A reader of some type.
pub trait Readable<'de> {
    type Value;
    fn read<D: Deserializer<'de>>(self, from: D, trail: &Trail) -> Result<Option<Self::Value>, D::Error>;
}

struct Seed<'t, T> {
    read: Read<T>,
    trail: &'t Trail,
}

impl<'de, T> DeserializeSeed<'de> for Seed<'_, T>
where
    Read<T>: Readable<'de, Value = T>,
{
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        self.read.read(from, self.trail)
    }
}

impl<'de> Readable<'de> for Read<Text<'de>> {
    type Value = Text<'de>;
    fn read<D: Deserializer<'de>>(self, from: D, _: &Trail) -> Result<Option<Text<'de>>, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

impl<'de> Readable<'de> for Read<i64> {
    type Value = i64;
    fn read<D: Deserializer<'de>>(self, from: D, trail: &Trail) -> Result<Option<i64>, D::Error> {
        from.deserialize_any(NumberVisitor { how: self.how, trail })
    }
}

impl<'de> Readable<'de> for Read<Pairs<'de>> {
    type Value = Pairs<'de>;
    fn read<D: Deserializer<'de>>(self, from: D, trail: &Trail) -> Result<Option<Pairs<'de>>, D::Error> {
        from.deserialize_any(PairsVisitor {
            unique: self.how == How::Labels,
            trail,
        })
    }
}

impl<'de> Readable<'de> for Read<Vec<&'de RawValue>> {
    type Value = Vec<&'de RawValue>;
    fn read<D: Deserializer<'de>>(self, from: D, _: &Trail) -> Result<Option<Vec<&'de RawValue>>, D::Error> {
        from.deserialize_any(ElementsVisitor)
    }
}

/// A member's name.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Text<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Text<'de>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Text<'de>, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Text<'de>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Text<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A label's or an annotation's value: `null` is not a string here.
struct PairValue;

impl<'de> DeserializeSeed<'de> for PairValue {
    type Value = Text<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Text<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PairValue {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string (every label and annotation is one)")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct NumberVisitor<'t> {
    how: How,
    trail: &'t Trail,
}

impl NumberVisitor<'_> {
    fn millis<E: Error>(&self, ms: Option<i64>) -> Result<Option<i64>, E> {
        let at = ms.and_then(time::from_millis);
        at.map(Some).ok_or_else(|| {
            self.trail.fail(
                "bad_time",
                "milliseconds since 1970 that lie outside the years 0000 to 9999",
            )
        })
    }
}

impl Visitor<'_> for NumberVisitor<'_> {
    type Value = Option<i64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.how {
            How::Time => "an RFC 3339 time",
            How::TimeOrMillis => "an RFC 3339 time or milliseconds since 1970",
            _ => "an integer",
        })
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match self.how {
            How::TimeOrMillis => self.millis(Some(number)),
            How::Integer => Ok(Some(number)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match (self.how, i64::try_from(number)) {
            (How::TimeOrMillis, signed) => self.millis(signed.ok()),
            (How::Integer, Ok(signed)) => Ok(Some(signed)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        match self.how {
            // Saturating: what is out of range is refused there.
            How::TimeOrMillis => self.millis(Some(number.floor() as i64)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.how == How::Integer {
            return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self));
        }
        match time::parse(text) {
            Some(time::GO_ZERO) => Ok(None),
            Some(at) => Ok(Some(at)),
            None => {
                let shown: String = text.chars().take(40).collect();
                Err(self.trail.fail(
                    "bad_time",
                    format_args!("{shown:?} is not an RFC 3339 time such as 2026-11-23T08:48:26.002Z"),
                ))
            }
        }
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct PairsVisitor<'t> {
    unique: bool,
    trail: &'t Trail,
}

impl<'de> Visitor<'de> for PairsVisitor<'_> {
    type Value = Option<Pairs<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::with_capacity(12);
        let mut sorted = true;
        while let Some(name) = map.next_key_seed(Name)? {
            let value = self.trail.note(&name, map.next_value_seed(PairValue))?;
            if value.len() > MAX_VALUE_BYTES || name.len() > MAX_VALUE_BYTES {
                let refused = self.trail.fail(
                    "too_large",
                    format_args!("{} bytes; at most {MAX_VALUE_BYTES} are taken", value.len()),
                );
                return self.trail.note(&name, Err(refused));
            }
            if pairs.len() == MAX_LABELS {
                return Err(self
                    .trail
                    .fail("too_large", format_args!("more than {MAX_LABELS} names")));
            }
            sorted &= pairs.last().is_none_or(|(last, _)| *last < name);
            pairs.push((name, value));
        }
        if !sorted {
            // Stable: equal names stay in the sender's order, and the last one counts.
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            if self.unique
                && let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0)
            {
                let refused = Err(self
                    .trail
                    .fail("duplicate_key", "given twice, and it decides what the signal is"));
                return self.trail.note(&twice[0].0, refused);
            }
            pairs.dedup_by(|later, earlier| {
                let equal = later.0 == earlier.0;
                if equal {
                    std::mem::swap(&mut later.1, &mut earlier.1);
                }
                equal
            });
        }
        Ok(Some(Pairs(pairs)))
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Option<Vec<&'de RawValue>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Some(elements))
    }
}
