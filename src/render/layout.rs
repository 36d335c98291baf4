//! Layered layout of small graphs: columns by the longest way from a start, rows ordered so that
//! few lines cross, lines of several columns led through free places.

use std::collections::BTreeMap;

/// A placed node; the numbers are its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) y: i32,
}

/// A line from one node to another, by way of a place in each layer between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) between: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// By the nodes' numbers.
    pub(super) places: Vec<Place>,
    pub(super) lines: Vec<Line>,
    pub(super) layers: usize,
    /// From the top of the highest to the bottom of the lowest.
    pub(super) height: i32,
}

/// The heights of a real node and of a place that a line passes, gaps included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pitch {
    pub(super) node: i32,
    pub(super) bend: i32,
}

/// One node of a layer: a real one, or a bend of a line.
#[derive(Debug, Clone)]
struct Item {
    layer: usize,
    real: bool,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// `needs[n]` are the nodes that come before node `n`; every one is smaller than `n`.
pub(super) fn layout(needs: &[Vec<usize>], pitch: Pitch) -> Layout {
    let mut items: Vec<Item> = Vec::with_capacity(needs.len());
    for before in needs {
        let layer = before.iter().filter_map(|n| items.get(*n)).map(|item| item.layer + 1).max();
        let item =
            Item { layer: layer.unwrap_or(0), real: true, before: Vec::new(), after: Vec::new() };
        items.push(item);
    }
    let bends = connect(&mut items, needs);
    let layers = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (index, item) in items.iter().enumerate() {
        rows[item.layer].push(index);
    }
    order(&items, &mut rows);
    let ys = settle(&items, &rows, pitch);
    let top = rows.iter().flatten().map(|n| ys[*n] - half(&items[*n], pitch)).min().unwrap_or(0);
    let bottom = rows.iter().flatten().map(|n| ys[*n] + half(&items[*n], pitch)).max().unwrap_or(0);
    let place = |index: usize| Place { layer: items[index].layer, y: ys[index] - top };
    let lines = bends
        .into_iter()
        .map(|(from, to, between)| Line {
            from,
            to,
            between: between.into_iter().map(place).collect(),
        })
        .collect();
    Layout { places: (0..needs.len()).map(place).collect(), lines, layers, height: bottom - top }
}

fn half(item: &Item, pitch: Pitch) -> i32 {
    if item.real { pitch.node / 2 } else { pitch.bend / 2 }
}

/// Joins neighbours, with bends for lines that pass over layers.
fn connect(items: &mut Vec<Item>, needs: &[Vec<usize>]) -> Vec<(usize, usize, Vec<usize>)> {
    let mut lines = Vec::new();
    for (to, before) in needs.iter().enumerate() {
        for from in before.iter().copied() {
            let mut bends = Vec::new();
            let mut last = from;
            for layer in items[from].layer + 1..items[to].layer {
                let bend = items.len();
                items.push(Item { layer, real: false, before: vec![last], after: Vec::new() });
                items[last].after.push(bend);
                bends.push(bend);
                last = bend;
            }
            items[last].after.push(to);
            items[to].before.push(last);
            lines.push((from, to, bends));
        }
    }
    lines
}

/// Orders each layer by the middle of its neighbours, a few times back and forth. Ties keep the
/// order of declaration, so that the picture is the same each time.
fn order(items: &[Item], rows: &mut [Vec<usize>]) {
    for sweep in 0..6 {
        let forward = sweep % 2 == 0;
        let mut ranks: BTreeMap<usize, i64> = BTreeMap::new();
        let layers: Vec<usize> =
            if forward { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in layers {
            let row = &mut rows[layer];
            row.sort_by_key(|n| {
                let neighbours = if forward { &items[*n].before } else { &items[*n].after };
                mean(neighbours.iter().filter_map(|n| ranks.get(n).copied()))
            });
            let width = i64::try_from(row.len()).unwrap_or(i64::MAX).max(1);
            for (rank, n) in (0_i64..).zip(row.iter()) {
                ranks.insert(*n, (2 * rank + 1) * 10_000 / width);
            }
        }
    }
}

/// Nodes without neighbours on that side keep to the middle.
fn mean(values: impl Iterator<Item = i64>) -> i64 {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 10_000 } else { sum / count }
}

/// Moves each node to the middle of its neighbours as far as the order allows.
fn settle(items: &[Item], rows: &[Vec<usize>], pitch: Pitch) -> Vec<i32> {
    let mut ys = vec![0; items.len()];
    for row in rows {
        let wanted = vec![0; row.len()];
        place_row(items, row, &wanted, pitch, &mut ys);
    }
    for sweep in 0..8 {
        let forward = sweep % 2 == 0;
        let layers: Vec<usize> =
            if forward { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in layers {
            let row = &rows[layer];
            let wanted: Vec<i32> = row
                .iter()
                .map(|n| {
                    let near = if forward { &items[*n].before } else { &items[*n].after };
                    let count = i32::try_from(near.len()).unwrap_or(i32::MAX);
                    if count == 0 {
                        ys[*n]
                    } else {
                        near.iter().map(|n| ys[*n]).sum::<i32>() / count
                    }
                })
                .collect();
            place_row(items, row, &wanted, pitch, &mut ys);
        }
    }
    ys
}

/// The positions nearest to the wanted ones that keep order and distance: isotonic regression by
/// pooling neighbours that would overlap.
fn place_row(items: &[Item], row: &[usize], wanted: &[i32], pitch: Pitch, ys: &mut [i32]) {
    let mut offsets = Vec::with_capacity(row.len());
    let mut offset = 0;
    for (index, n) in row.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).and_then(|before| row.get(before)) {
            offset += half(&items[*before], pitch) + half(&items[*n], pitch);
        }
        offsets.push(offset);
    }
    let mut pools: Vec<(i64, i64)> = Vec::new(); // sum, count
    for (want, offset) in wanted.iter().zip(&offsets) {
        let mut pool = (i64::from(want - offset), 1);
        while let Some(last) = pools.last().filter(|last| last.0 * pool.1 > pool.0 * last.1) {
            pool = (pool.0 + last.0, pool.1 + last.1);
            pools.pop();
        }
        pools.push(pool);
    }
    let values = pools.iter().flat_map(|(sum, count)| {
        let value = i32::try_from(sum.div_euclid(*count)).unwrap_or(0);
        std::iter::repeat_n(value, usize::try_from(*count).unwrap_or(0))
    });
    for ((n, offset), value) in row.iter().zip(&offsets).zip(values) {
        ys[*n] = value + offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PITCH: Pitch = Pitch { node: 60, bend: 20 };

    #[test]
    fn a_diamond_is_symmetric() {
        let layout = layout(&[vec![], vec![0], vec![0], vec![1, 2]], PITCH);
        let ys: Vec<i32> = layout.places.iter().map(|place| place.y).collect();
        assert_eq!(ys, [60, 30, 90, 60]);
        assert_eq!(layout.places.iter().map(|p| p.layer).collect::<Vec<_>>(), [0, 1, 1, 2]);
        assert_eq!(layout.height, 120);
    }

    #[test]
    fn a_line_over_a_layer_bends_around_what_is_there() {
        let layout = layout(&[vec![], vec![0], vec![0, 1]], PITCH);
        let long = layout.lines.iter().find(|line| (line.from, line.to) == (0, 2)).unwrap();
        assert_eq!(long.between.len(), 1);
        let apart = (long.between[0].y - layout.places[1].y).abs();
        assert!(apart >= i32::midpoint(PITCH.node, PITCH.bend), "{layout:?}");
    }

    #[test]
    fn nodes_of_a_layer_never_overlap() {
        let needs: Vec<Vec<usize>> = (0..24)
            .map(|n: usize| (0..n).filter(|m| (n * 7 + m * 5).is_multiple_of(6)).collect())
            .collect();
        let layout = layout(&needs, PITCH);
        for (a, one) in layout.places.iter().enumerate() {
            for other in &layout.places[a + 1..] {
                assert!(one.layer != other.layer || (one.y - other.y).abs() >= PITCH.node);
            }
        }
    }
}
