//! An evidence pack: what the log holds about one control, as one JSON text.
//!
//! The same records lead to the same bytes: keys are sorted, records are ordered by time and id, one that was written twice stands there
//! once, and no time but those of the facts is in it. Each entry carries the hash of the one before it, as the ledger's do, so that
//! nothing can be left out or put in unseen; a record about a remediation names the ledger's entries of the very bytes that it judged, and
//! the heads of the ledger's chains stand at the end.

use std::collections::BTreeMap;

use model::ledger::GENESIS;
use model::{ComplianceRecord, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::policy::Policies;

/// An entry of the ledger, by the digest of the record that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerMark {
    pub chain: String,
    pub sequence: u64,
    pub hash: String,
    pub digest: String,
}

/// Where a chain of the ledger ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerHead {
    pub chain: String,
    pub entries: u64,
    pub head: String,
}

/// Of records that were written more than once the earliest, in the order of their times.
pub fn once(records: &[ComplianceRecord]) -> Vec<ComplianceRecord> {
    let mut by_id: BTreeMap<Uuid, &ComplianceRecord> = BTreeMap::new();
    for record in records {
        let rank = |one: &ComplianceRecord| (one.at, one.source.clone());
        let known = by_id.entry(record.id).or_insert(record);
        if rank(record) < rank(known) {
            *known = record;
        }
    }
    let mut ordered: Vec<ComplianceRecord> = by_id.into_values().cloned().collect();
    ordered.sort_by_key(|record| (record.at, record.id));
    ordered
}

/// The pack of `control`; `None` where no policy serves it and no record speaks of it.
pub fn pack(
    control: &str,
    policies: &Policies,
    records: &[ComplianceRecord],
    marks: &[LedgerMark],
    heads: &[LedgerHead],
) -> Option<Vec<u8>> {
    let about = |record: &&ComplianceRecord| record.controls.iter().any(|one| one == control);
    let records: Vec<ComplianceRecord> = once(records).iter().filter(about).cloned().collect();
    let known = policies.controls().into_iter().find(|one| one.id == control);
    if records.is_empty() && known.is_none() {
        return None;
    }
    let serving: Vec<Value> = policies
        .all()
        .iter()
        .filter(|policy| policy.controls.iter().any(|one| one == control))
        .map(|policy| json!({"id": policy.id, "title": policy.title, "hash": policy.hash}))
        .collect();
    let count = |verdict: Verdict| records.iter().filter(|record| record.verdict == verdict).count();
    let mut by_digest: BTreeMap<&str, Vec<&LedgerMark>> = BTreeMap::new();
    for mark in marks {
        by_digest.entry(&mark.digest).or_default().push(mark);
    }
    by_digest.values_mut().for_each(|marks| marks.sort());
    let mut previous = GENESIS.to_owned();
    let mut entries = Vec::new();
    for (sequence, record) in records.iter().enumerate() {
        let marks = by_digest
            .get(record.source.digest.as_str())
            .cloned()
            .unwrap_or_default();
        let entry = json!({"sequence": sequence, "previous": previous, "record": record, "ledger": marks});
        let hash = hash(&entry);
        let mut entry = entry;
        entry["hash"] = hash.as_str().into();
        entries.push(entry);
        previous = hash;
    }
    let mut heads = heads.to_vec();
    heads.sort();
    let mut whole = json!({
        "schema": 1,
        "control": control,
        "title": known.map(|one| one.title).unwrap_or_default(),
        "policies": serving,
        "passes": count(Verdict::Pass),
        "violations": count(Verdict::Violation),
        "from": records.first().map(|record| record.at),
        "to": records.last().map(|record| record.at),
        "entries": entries,
        "head": previous,
        "ledger": heads,
    });
    whole["hash"] = hash(&whole).into();
    let mut bytes = serde_json::to_vec_pretty(&sorted(&whole)).unwrap_or_default();
    bytes.push(b'\n');
    Some(bytes)
}

/// What is wrong with a pack, as far as it can be told from the pack alone; how many entries it has where nothing is.
pub fn verify(bytes: &[u8]) -> Result<usize, String> {
    let whole: Value = serde_json::from_slice(bytes).map_err(|fault| format!("it is no JSON: {fault}"))?;
    let said = |value: &Value, name: &str| value[name].as_str().map(str::to_owned).unwrap_or_default();
    let without = |value: &Value| {
        let mut bare = value.clone();
        if let Some(fields) = bare.as_object_mut() {
            fields.remove("hash");
        }
        bare
    };
    let entries = whole["entries"]
        .as_array()
        .ok_or("it has no entries: it is no evidence pack")?;
    let mut previous = GENESIS.to_owned();
    for (sequence, entry) in entries.iter().enumerate() {
        if entry["sequence"] != json!(sequence) {
            return Err(format!(
                "entry {sequence}: its number does not follow the one before it"
            ));
        }
        if said(entry, "previous") != previous {
            return Err(format!(
                "entry {sequence}: it does not name the hash of the one before it"
            ));
        }
        previous = hash(&without(entry));
        if said(entry, "hash") != previous {
            return Err(format!("entry {sequence}: its hash is not that of its content"));
        }
    }
    if said(&whole, "head") != previous {
        return Err("its head is not the hash of its last entry".to_owned());
    }
    if said(&whole, "hash") != hash(&without(&whole)) {
        return Err("its hash is not that of its content".to_owned());
    }
    Ok(entries.len())
}

/// Hex SHA-256 of the JSON with sorted keys.
fn hash(value: &Value) -> String {
    let bytes = sorted(value).to_string();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same with the keys of every object in order: a map of JSON may keep the order in which it was filled.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let mut ordered = Map::new();
            for name in names {
                ordered.insert(name.clone(), sorted(&fields[name]));
            }
            Value::Object(ordered)
        }
        other => other.clone(),
    }
}
