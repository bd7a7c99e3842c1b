"""What hostile files begin with, and words that mean something in them."""

from __future__ import annotations

BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = (
    "&a ", "*a", "<<: *a\n", "!!python/object/apply:os.system ['touch pwned']",
    "!!python/name:os.system ", "!!binary ", "!!set ", "!!omap ", "!!timestamp ", "!!int ",
    "!!float ", "? ", ": ", "- ", "--- ", "...\n", "%YAML 9.9\n", "%TAG ! tag:x,2000:\n", "| \n",
    "> \n", "#", "{", "[", "}", "]", "\t", "\"", "'", "@", "`", "0x", "0o", "1:20", "2024-01-01",
    "\x00", "\ufeff", "names: ", "train: ", "path: ", "&a [*a, *a]", "~", BILLION, "&x {a: *x}",
)  # fmt: skip
XML = (
    "<annotation><size><width>64</width><height>48</height><depth>3</depth></size><object><name>cat</name>"
    "<pose>Left</pose><truncated>1</truncated><difficult>1</difficult><bndbox><xmin>5</xmin><ymin>5</ymin>"
    "<xmax>20</xmax><ymax>20</ymax></bndbox></object><object><name>dog</name><difficult>0</difficult>"
    "<bndbox><xmin>1.5</xmin><ymin>1e1</ymin><xmax>64</xmax><ymax>48</ymax></bndbox></object></annotation>",
    '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation>'
    "<object><name>&x;</name></object></annotation>",
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>'
    "<annotation><object><name>&d;</name></object></annotation>",
    '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><annotation/>',
)
XML_WORDS = (
    "<object>", "</object>", "<bndbox>", "</bndbox>", "<name>", "</name>",
    "<difficult>1</difficult>", "<xmin>", "<![CDATA[", "]]>", "<!--", "-->", "<?php ?>", "<a>",
    "&lt;", "&#0;", "&#x1b;", "&#1114112;", "&amp;", "&x;", "<!DOCTYPE a [<!ENTITY x 'y'>]>",
    '<?xml version="1.0" encoding="utf-7"?>', "xmlns='x'", "<b:a xmlns:b='x'>",
    '<?xml version="1.0" encoding="punycode"?>', "\x00", "\ufeff", "<size>", "</size>",
    "<width>", "</annotation>",
)  # fmt: skip
HYPS = (
    """
lr0: 0.01
lrf: 0.1
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_bias_lr: 0.1
box: 0.05
cls: 0.3
cls_pw: 1.0
obj: 0.7
anchor_t: 4.0
fl_gamma: 0.0
hsv_h: 0.015
translate: 0.2
scale: 0.9
fliplr: 0.5
mosaic: 1.0
mixup: 0.15
paste_in: 0.15
loss_ota: 1
""",
    """
lr0: 0.01
student_kd_layers: [75, 88, 101]
teacher_kd_layers: [75, 88, 101]
kd: fgd
""",
)
SMALL_MODEL = """
nc: 2
depth_multiple: 1.0
width_multiple: 0.25
anchors:
- [10, 13, 16, 30, 33, 23]
- [30, 61, 62, 45, 59, 119]
backbone:
- [-1, 1, Conv, [32, 3, 2]]
- [-1, 1, Conv, [64, 3, 2]]
- [-1, 2, Conv, [64, 3, 1, null, 1, "nn.LeakyReLU(0.1)"]]
- [-1, 1, MP, []]
- [-1, 1, Conv, [64, 3, 2]]
head:
- [-1, 1, "nn.Upsample", [null, 2, nearest]]
- [[-1, 3], 1, Concat, [1]]
- [[6, 4], 1, Detect, [nc, anchors]]
"""
