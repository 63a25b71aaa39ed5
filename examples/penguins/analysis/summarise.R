# Summarise the penguins by species and sex: a table, a figure, and a report that pandoc makes.
#
# Usage: Rscript summarise.R DIRECTORY

suppressPackageStartupMessages({
    library(dplyr)
    library(ggplot2)
})

results <- normalizePath(commandArgs(trailingOnly = TRUE)[1])
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
penguins <- read.csv(file.path(here, "..", "data", "penguins.csv"))

summary_table <- penguins |>
    group_by(species, sex) |>
    summarise(
        birds = n(),
        mass_mean_g = mean(body_mass_g),
        mass_sd_g = sd(body_mass_g),
        across(c(bill_length_mm, bill_depth_mm, flipper_length_mm), mean, .names = "{.col}_mean"),
        mass_per_flipper = coef(lm(body_mass_g ~ flipper_length_mm))[[2]],
        .groups = "drop"
    ) |>
    arrange(species, sex)
write.csv(summary_table, file.path(results, "summary.csv"), row.names = FALSE, quote = FALSE)

figure <- ggplot(penguins, aes(flipper_length_mm, body_mass_g, colour = species)) +
    geom_point(aes(shape = sex), alpha = 0.7) +
    geom_smooth(method = "lm", formula = y ~ x, se = FALSE, linewidth = 0.6) +
    labs(x = "flipper length (mm)", y = "body mass (g)", title = "Mass grows with the flipper, in each species") +
    theme_minimal()
ggsave(file.path(results, "summary.png"), figure, width = 6, height = 4, dpi = 120)

# The report is knitted beside what it shows.
source_file <- file.path(results, "report.Rmd")
stopifnot(file.copy(file.path(here, "report.Rmd"), source_file, overwrite = TRUE))
rmarkdown::render(source_file, quiet = TRUE)
unlink(source_file)
