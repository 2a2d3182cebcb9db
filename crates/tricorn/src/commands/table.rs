//! Columns for people.

/// Rows with their columns under each other; the first row is the heading.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["NAME", "ROLE"], ["s1", "server"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "NAME   ROLE\ns1     server\n");
    }
}
