//! The memory that columns hold.

use arrow::array::{Array as _, ArrayData, RecordBatch};

/// Bytes that `rows` keep alive, each allocation once.
///
/// Columns decoded from Arrow IPC are slices of one message, and a sum over the columns (as
/// `RecordBatch::get_array_memory_size` has it) would count that message once per buffer.
pub fn held_bytes(rows: &RecordBatch) -> usize {
    let mut allocations = Vec::new();
    rows.columns()
        .iter()
        .for_each(|column| collect(&column.to_data(), &mut allocations));
    allocations.sort_unstable();
    allocations.dedup();
    allocations.iter().map(|(_, bytes)| bytes).sum()
}

/// Appends where each allocation of `data` begins, and its size.
fn collect(data: &ArrayData, allocations: &mut Vec<(usize, usize)>) {
    let validity = data.nulls().map(|nulls| nulls.buffer());
    for buffer in data.buffers().iter().chain(validity) {
        allocations.push((buffer.data_ptr().as_ptr().addr(), buffer.capacity()));
    }
    data.child_data().iter().for_each(|child| collect(child, allocations));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::buffer::{Buffer, ScalarBuffer};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let named = columns
            .into_iter()
            .enumerate()
            .map(|(n, column)| (n.to_string(), column));
        RecordBatch::try_from_iter(named).unwrap()
    }

    #[test]
    fn slices_of_one_allocation_count_once() {
        let whole = Buffer::from_vec((0..1_000_i64).collect::<Vec<_>>());
        let column = |from: usize| -> ArrayRef {
            let values: ScalarBuffer<i64> = ScalarBuffer::new(whole.clone(), from, 100);
            Arc::new(Int64Array::new(values, None))
        };
        let rows = batch(vec![column(0), column(100), column(900)]);
        assert_eq!(held_bytes(&rows), 8_000);
        assert!(rows.get_array_memory_size() >= 24_000);
    }

    #[test]
    fn validity_and_children_count() {
        let plain: ArrayRef = Arc::new(StringArray::from(vec!["four"; 64]));
        let nulls: ArrayRef = Arc::new(StringArray::from(
            vec![Some("four"); 64].into_iter().chain([None]).collect::<Vec<_>>(),
        ));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![
                Some(1);
                100
            ]);
            64
        ]));
        let [plain, nulls, lists] = [plain, nulls, lists].map(|column| held_bytes(&batch(vec![column])));
        assert!(plain >= 64 * 4 + 65 * 4, "{plain}");
        assert!(nulls > plain, "{nulls} {plain}");
        assert!(lists >= 64 * 100 * 8, "{lists}");
    }
}
