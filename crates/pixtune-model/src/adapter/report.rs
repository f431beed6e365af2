//! What a conversion did, as JSON. No clock and no path: the same run gives the same report.

use pixtune_core::json::{Slot, ToJson, list, members, object, raw};

use super::convert::ConversionReport;
use super::fold::Rounding;
use super::settings::number;

impl ToJson for &ConversionReport {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|report| {
            report.field("pixtune", env!("CARGO_PKG_VERSION"));
            report.field("from", self.from.as_str()).field("to", self.to.as_str());
            let modules = self.modules.iter().map(|(area, count)| (area.as_str(), count));
            report.field("modules", members(modules));
            report.field("ranks", members(self.ranks.iter().map(|(rank, count)| (rank.to_string(), count))));
            report.field("permuted", self.permuted);
            let dtypes = self.dtypes.iter().map(|(dtype, count)| (dtype.as_str(), count));
            report.field("dtypes", members(dtypes));
            let folded = self.folded.iter().map(|(factor, count)| {
                object(move |out| {
                    out.field("factor", raw(&number(*factor))).field("modules", count);
                })
            });
            report.field("folded", list(folded)).field("rounding", &self.rounding);
            report.field("files", list(&self.files)).field("warnings", list(&self.warnings));
        });
    }
}

impl ToJson for &Rounding {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|rounding| {
            rounding.field("largest_relative_error", raw(&number(self.largest)));
            rounding.field("module", self.module.as_deref()).field("lost", self.lost);
        });
    }
}
