def st_reasoner_coop_train(path, report):
    report.note("-", "later")


def iterations(path, report):
    report.note("-", "later")
