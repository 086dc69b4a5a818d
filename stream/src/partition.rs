//! Our own partitioner: a named hash with frozen vectors, the same on every log.

/// The partition of `key` among `partitions`: XXH64-like quality is not needed here, stability is. FNV-1a over the
/// key, finished with the 64-bit mix of SplitMix64 (Steele, Lea, Flood 2014), reduced by multiply-shift (Lemire 2016).
///
/// Name of this function in stored topologies: `fnv1a-splitmix-1`. It never changes; a better one gets a new name.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    ((u128::from(hash) * u128::from(partitions.max(1))) >> 64) as u32
}

/// The name under which topologies record the partitioner.
pub const PARTITIONER: &str = "fnv1a-splitmix-1";
