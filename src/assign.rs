//! Assignment: which peak belongs to which object, so that all of them together fit best.
//!
//! The Hungarian algorithm with potentials (Kuhn 1955; Munkres 1957; the shortest-path form of Jonker and Volgenant 1987),
//! O(n³) for a handful of rows. Written here because it runs on every slot and must not allocate.

/// Solves assignments of up to a fixed size without allocating.
#[derive(Debug)]
pub struct Assigner {
    /// Potentials of rows and columns, the row that a column is assigned to, and the column before it on the path; index
    /// 0 is a sentinel.
    row_potential: Vec<f32>,
    col_potential: Vec<f32>,
    row_of: Vec<usize>,
    way: Vec<usize>,
    least: Vec<f32>,
    used: Vec<bool>,
    answer: Vec<Option<usize>>,
}

impl Assigner {
    /// For at most `rows` × `cols`.
    #[must_use]
    pub fn new(rows: usize, cols: usize) -> Self {
        let cols = rows + cols + 1;
        Self {
            row_potential: vec![0.0; rows + 1],
            col_potential: vec![0.0; cols],
            row_of: vec![0; cols],
            way: vec![0; cols],
            least: vec![0.0; cols],
            used: vec![false; cols],
            answer: Vec::with_capacity(rows),
        }
    }

    /// For each of `rows` the column of 0…`cols` it is assigned to, or none: of all assignments that with the least sum of
    /// `cost`, where a row left alone costs `alone`.
    pub fn solve(
        &mut self,
        rows: usize,
        cols: usize,
        alone: f32,
        cost: impl Fn(usize, usize) -> f32,
    ) -> &[Option<usize>] {
        // Every row has a column of its own to stay alone in.
        let all = cols + rows;
        self.row_potential[..=rows].fill(0.0);
        self.col_potential[..=all].fill(0.0);
        self.row_of[..=all].fill(0);
        for row in 1..=rows {
            self.row_of[0] = row;
            self.least[..=all].fill(f32::INFINITY);
            self.used[..=all].fill(false);
            let mut col = 0;
            while self.row_of[col] != 0 {
                self.used[col] = true;
                let from = self.row_of[col];
                let (mut delta, mut next) = (f32::INFINITY, 0);
                for j in (1..=all).filter(|&j| !self.used[j]) {
                    let price = if j <= cols { cost(from - 1, j - 1) } else { alone };
                    let reduced = price - self.row_potential[from] - self.col_potential[j];
                    if reduced < self.least[j] {
                        (self.least[j], self.way[j]) = (reduced, col);
                    }
                    if self.least[j] < delta {
                        (delta, next) = (self.least[j], j);
                    }
                }
                for j in 0..=all {
                    if self.used[j] {
                        self.row_potential[self.row_of[j]] += delta;
                        self.col_potential[j] -= delta;
                    } else {
                        self.least[j] -= delta;
                    }
                }
                col = next;
            }
            while col != 0 {
                let before = self.way[col];
                self.row_of[col] = self.row_of[before];
                col = before;
            }
        }
        self.answer.clear();
        self.answer.resize(rows, None);
        for col in 1..=cols {
            if self.row_of[col] > 0 {
                self.answer[self.row_of[col] - 1] = Some(col - 1);
            }
        }
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying all.
    fn least(costs: &[Vec<f32>], alone: f32, row: usize, taken: u32) -> f32 {
        if row == costs.len() {
            return 0.0;
        }
        let free = (0..costs[row].len()).filter(|c| taken & (1 << c) == 0);
        let with = free.map(|c| costs[row][c] + least(costs, alone, row + 1, taken | (1 << c)));
        with.fold(alone + least(costs, alone, row + 1, taken), f32::min)
    }

    proptest! {
        #[test]
        fn no_other_assignment_is_cheaper(
            costs in (1usize..5, 0usize..6).prop_flat_map(|(r, c)| {
                proptest::collection::vec(proptest::collection::vec(0f32..3.0, c), r)
            }),
            alone in 0.1f32..2.0,
        ) {
            let mut a = Assigner::new(5, 6);
            let answer = a.solve(costs.len(), costs[0].len(), alone, |r, c| costs[r][c]).to_vec();
            let sum: f32 = answer.iter().enumerate().map(|(r, c)| c.map_or(alone, |c| costs[r][c])).sum();
            let mut columns: Vec<_> = answer.iter().flatten().collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), answer.iter().flatten().count(), "a column serves one row");
            prop_assert!((sum - least(&costs, alone, 0, 0)).abs() < 1e-4);
        }
    }
}
