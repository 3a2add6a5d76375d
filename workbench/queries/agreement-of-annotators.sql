-- Who agrees with whom, chance taken out?
SELECT criterion, annotator_a, annotator_b, pairs, agreement, kappa
FROM annotator_agreement
ORDER BY criterion, kappa DESC NULLS LAST;
